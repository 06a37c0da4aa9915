/** Copies of the source files that documents link to. Each line has an anchor: `#L12`. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { isFolder, SOURCE } from './links.ts'
import { ROOT } from './pages.ts'

const STYLE = `:root { color-scheme: light dark }
body { margin: 2rem auto; max-width: 70rem; padding: 0 1rem; font: 14px/1.6 ui-monospace, monospace }
h1 { font-size: 1.1rem }
pre { font: inherit; white-space: pre-wrap; overflow-wrap: anywhere }
pre a { display: inline-block; width: 3.5em; color: #767676; text-decoration: none; user-select: none }
:target { background: #fde68a; color: #111 }`

const escape = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')

const page = (title: string, body: string): string =>
  `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex"><link rel="icon" href="data:,"><title>${escape(title)}</title><style>${STYLE}</style></head>
<body><h1>${escape(title)}</h1>
${body}
</body></html>
`

const entriesOf = (folder: string): string[] =>
  readdirSync(path.join(ROOT, folder))
    .filter((name) => name !== 'node_modules' && !name.startsWith('.'))
    .toSorted()

/** Returns the page of a file or folder, by its path in the repository. */
export function sourcePage(file: string): string {
  if (isFolder(file)) {
    const links = entriesOf(file).map(
      (name) =>
        `<li><a href="${escape(`${path.posix.basename(file)}/${name}`)}.html">${escape(name)}</a></li>`,
    )
    return page(file, `<ul>${links.join('')}</ul>`)
  }
  const lines = readFileSync(path.join(ROOT, file), 'utf8').trimEnd().split('\n')
  const numbered = lines.map(
    (line, i) => `<span id="L${i + 1}"><a href="#L${i + 1}">${i + 1}</a>${escape(line)}</span>`,
  )
  return page(file, `<pre>${numbered.join('\n')}</pre>`)
}

/** Writes the pages of files and folders, and of what the folders contain. */
export function writeSourcePages(files: Iterable<string>, outDir: string): void {
  const open = [...files]
  const seen = new Set<string>()
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    if (seen.has(file)) continue
    seen.add(file)
    const target = path.join(outDir, SOURCE, `${file}.html`)
    mkdirSync(path.dirname(target), { recursive: true })
    writeFileSync(target, sourcePage(file))
    if (isFolder(file)) open.push(...entriesOf(file).map((name) => `${file}/${name}`))
  }
}

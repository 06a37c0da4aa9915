/**
 * Links of the packed documents. The tarball has no tests and no examples, so a link to one of them would
 * lead nowhere: it becomes the file's path in the repository. npm packs what is in the folder. Therefore the
 * documents are changed before, and restored afterwards.
 *
 *   node scripts/package-links.mjs detach     by `prepack`
 *   node scripts/package-links.mjs restore    by `postpack`
 */
import { execFileSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'

const [action] = process.argv.slice(2)
const root = path.join(import.meta.dirname, '..')
/** The documents as they were, and as they were packed. */
const saved = path.join(root, '.cache/package-links')

/** Returns the paths of all files that npm packs. */
function packedFiles() {
  const args = ['pack', '--dry-run', '--json', '--ignore-scripts']
  const output = execFileSync('npm', args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 32 * 1024 * 1024,
    shell: process.platform === 'win32',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  return JSON.parse(output)[0].files.map((file) => file.path)
}

/** A fenced block, a span of code, or a link, the last with its parts. */
const PART =
  /^ *(`{3,})[^\n]*\n[\s\S]*?^ *\1 *$|`[^`\n]*`(?!\])|(!?)\[((?:`[^`]*`|[^\]])*)\]\(([^)\s]+)\)/gm

/**
 * Returns a document without the links that lead out of the package.
 * @param isPacked whether a path, of a file or folder, is in the package
 */
function detached(document, text, isPacked) {
  return text.replaceAll(PART, (part, fence, picture, label, target) => {
    if (target === undefined || /^([a-z]+:|#)/.test(target)) return part
    const [file] = target.split('#')
    const to = path.posix.join(path.posix.dirname(document), file).replace(/\/$/, '')
    if (isPacked(to)) return part
    if (picture) return `(${label})`
    const name = path.posix.basename(to).replace(/\.test\.ts$/, '')
    const saysNoMore = label === 'test' || label.includes(name)
    return saysNoMore ? `\`${to}\`` : `${label} (\`${to}\`)`
  })
}

function restore() {
  if (!existsSync(saved)) return
  const originals = path.join(saved, 'original')
  for (const file of readdirSync(originals, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.md')) continue
    const [original, packed] = ['original', 'packed'].map((kind) => path.join(saved, kind, file))
    // Somebody may have written while npm packed.
    if (readFileSync(path.join(root, file), 'utf8') !== readFileSync(packed, 'utf8')) {
      console.error(`${file} has changed while it was packed. As it was before: ${original}`)
      process.exit(1)
    }
    cpSync(original, path.join(root, file))
  }
  rmSync(saved, { recursive: true })
}

function detach() {
  const files = packedFiles()
  const known = new Set(files.flatMap((file) => [file, ...foldersOf(file)]))
  for (const file of files.filter((each) => each.endsWith('.md'))) {
    const text = readFileSync(path.join(root, file), 'utf8')
    const packed = detached(file, text, (to) => known.has(to))
    if (packed === text) continue
    for (const [kind, content] of Object.entries({ original: text, packed })) {
      const copy = path.join(saved, kind, file)
      mkdirSync(path.dirname(copy), { recursive: true })
      writeFileSync(copy, content)
    }
    writeFileSync(path.join(root, file), packed)
  }
}

/** Returns all folders above a file. */
function foldersOf(file) {
  const parts = file.split('/')
  return parts.slice(1).map((_, i) => parts.slice(0, i + 1).join('/'))
}

// Also after a run that was interrupted.
restore()
if (action === 'detach') detach()
else if (action !== 'restore') throw new Error('Say detach or restore.')

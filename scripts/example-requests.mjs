/** The requests that a README shows for an example, each with what its response contains. */
import { readFileSync } from 'node:fs'
import path from 'node:path'

const readme = (folder) =>
  readFileSync(path.join(import.meta.dirname, '..', folder, 'README.md'), 'utf8')

/** Returns the sections of the READMEs that have a console block, by the name of the example. */
function consoles() {
  const found = new Map()
  for (const [folder, heading, prefix] of [
    ['examples', '###', ''],
    ['examples/platforms', '##', 'platforms/'],
  ]) {
    const section = new RegExp(`^${heading} (\\S+)\n[^#]*?^\`\`\`console\n([^]*?)^\`\`\``, 'gm')
    for (const [, name, block] of readme(folder).matchAll(section)) found.set(prefix + name, block)
  }
  return found
}

/** Returns the names of the examples that a README has requests for. */
export const examplesWithRequests = () => [...consoles().keys()]

/** Returns the requests for an example, none if it has a page. */
export function requestsOf(name) {
  const block = consoles().get(name) ?? ''
  return block
    .split(/^\$ /m)
    .slice(1)
    .map((request) => {
      const [line, wanted = ''] = request.split('\n')
      return { line, wanted }
    })
}

/** A plugin for the build and for tests: `import source from './main.ts?script'` is a script for browsers. */
import path from 'node:path'
import { rolldown } from 'rolldown'

const MARK = '?script'

/** Bundles a module with all that it imports, without comments. */
async function bundle(file) {
  const build = await rolldown({ input: file, platform: 'browser', tsconfig: false })
  try {
    const { output } = await build.generate({ format: 'iife', comments: false })
    return output[0].code
  } finally {
    await build.close()
  }
}

export const browserScript = {
  name: 'browser-script',
  enforce: 'pre',
  resolveId(id, importer) {
    if (!id.endsWith(MARK) || importer === undefined) return undefined
    return path.resolve(path.dirname(importer), id)
  },
  async load(id) {
    if (!id.endsWith(MARK)) return undefined
    const source = await bundle(id.slice(0, -MARK.length))
    // As readable as the rest of the package.
    const lines = source.split('\n').map((line) => JSON.stringify(line))
    return { code: `export default [\n${lines.join(',\n')},\n].join('\\n')`, moduleType: 'js' }
  },
}

/** A plugin for the build and for tests: `import source from './main.ts?script'` is a script for browsers. */
import path from 'node:path'
import { rolldown } from 'rolldown'

const MARK = '?script'

/** Bundles a module with all that it imports. Returns the minified script. */
async function bundle(file) {
  const build = await rolldown({ input: file, platform: 'browser', tsconfig: false })
  try {
    const { output } = await build.generate({ format: 'iife', minify: true })
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
    return { code: `export default ${JSON.stringify(source)}`, moduleType: 'js' }
  },
}

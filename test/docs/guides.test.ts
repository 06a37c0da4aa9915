/** The programs of docs/guides and docs/start run under the name by which the page saves them. */
import { parseSync } from 'oxc-parser'
import request from 'supertest'
import { afterAll, describe, expect, test } from 'vitest'
import { blocksOf, clear, documents, modulesOf, sourceOf, textOf, write } from './blocks.ts'

const FOLDER = `guides-${process.pid}`
afterAll(() => clear(FOLDER))

const pages = documents().filter((document) => /^docs\/(?:guides|start)\/|^README/.test(document))

/** Returns the programs that a page says how to save, each with its name. */
function savedOn(page: string): { name: string; code: string }[] {
  const text = textOf(page)
  const blocks = blocksOf(text).filter(({ language }) => /^[jt]s$/.test(language))
  const lines = text.split('\n')
  return blocks.map(({ line, code }, i) => {
    const above = lines.slice(i === 0 ? 0 : blocks[i - 1]!.line, line).join(' ')
    const name = [...above.matchAll(/`([\w./-]+\.(?:mjs|js|ts))`/g)].at(-1)?.[1] ?? ''
    return { name, code }
  })
}

describe.each(pages)('%s', (page) => {
  test('says under which name each program is saved', () => {
    for (const { name, code } of savedOn(page)) expect(name, code.slice(0, 80)).not.toBe('')
  })

  test('has no types in what is saved as JavaScript', () => {
    for (const { name, code } of savedOn(page)) {
      if (!name.endsWith('js')) continue
      expect(parseSync('program.mjs', code, { lang: 'js' }).errors, name).toEqual([])
    }
  })
})

const LOCAL = "/^(::ffff:)?127\\.|^::1$/.test(req.ip ?? '')"

test.each(['docs/metrics.md', 'docs/guides/three-in-the-morning.md'])(
  '%s lets this machine read the metrics',
  (page) => expect(textOf(page)).toContain(`tp.metrics({ authorize: (req) => ${LOCAL} })`),
)

test('this machine reads the metrics, and a client behind its proxy does not', async () => {
  const [page] = modulesOf('docs/metrics.md')
  const code = sourceOf(page!, () => true)
    .replace("'redis://localhost:6379'", "'memory'")
    .replace('const tp', 'export const tp')
    // On all addresses, as a reader's server: it sees this machine as ::ffff:127.0.0.1.
    .replace('await tp.close()', "app.set('trust proxy', 1)\nexport const server = app.listen(0)")
  const { server, tp } = await import(write(FOLDER, page!, code)!)
  await request(server).get('/metrics').expect(200)
  await request(server).get('/metrics').set('X-Forwarded-For', '203.0.113.9').expect(404)
  server.close()
  await tp.close()
})

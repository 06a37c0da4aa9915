import { describe, expect, test } from 'vitest'
import {
  ReplicatedDocument,
  type DocumentOptions,
} from '../../src/documents/replicated-document.ts'
import { extension } from '../../src/extension.ts'
import { turnpike } from '../../src/node.ts'
import { bothEngines } from '../support/engines.ts'
import { until } from '../support/until.ts'

type Settings = Readonly<Record<string, number>>

function settingsOf(json: unknown): Settings {
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new TypeError('no settings')
  return json as Settings
}

const KEY = ':settings:document:{main}'

describe.each(bothEngines())('a replicated document on the $name engine', ({ open, server }) => {
  function setUp() {
    const opened = open()
    const { store, prefix } = opened
    const heard: Settings[][] = []
    function start(options: Partial<DocumentOptions<Settings>> = {}) {
      const tp = turnpike({ store, prefix })
      const changes: Settings[] = []
      heard.push(changes)
      return extension(tp, 'settings', (context) => {
        const document = new ReplicatedDocument<Settings>(context, {
          name: 'main',
          where: 'settings()',
          initial: {},
          parse: settingsOf,
          refreshMs: 10_000,
          onChange: (value) => changes.push(value),
          ...options,
        })
        return { context, document, changes }
      })
    }
    return { ...opened, start }
  }
  const put = (name: string, value: number) => (all: Settings) => ({ ...all, [name]: value })

  test('what one process sets, all see', async () => {
    const { start } = setUp()
    const [a, b] = [start(), start()]
    await b.document.refresh()
    expect(b.document.value).toEqual({})
    expect(await a.document.update(put('x', 1), 'set x')).toEqual({ x: 1 })
    await until('the other process has it', () => b.document.value['x'] === 1)
    expect([a.changes, b.changes]).toEqual([[{ x: 1 }], [{ x: 1 }]])
  })

  test('a process that starts later reads what is stored', async () => {
    const { start } = setUp()
    await start().document.update(put('x', 1), '')
    const late = start()
    await until('it has read', () => late.document.isRead)
    expect(late.document.value).toEqual({ x: 1 })
  })

  test('no change is lost when many processes change it at once', async () => {
    const { start } = setUp()
    const processes = Array.from({ length: 5 }, () => start())
    await Promise.all(
      processes.flatMap(({ document }, p) =>
        Array.from({ length: 20 }, (_, i) => document.update(put(`${p}-${i}`, i), '')),
      ),
    )
    for (const { document } of processes) {
      await document.refresh()
      expect(Object.keys(document.value)).toHaveLength(100)
    }
  })

  test('without a message a change is seen within the interval', async () => {
    const { start, store, advance } = setUp()
    const [a, b] = [start(), start()]
    await a.document.update(put('first', 1), '')
    await until('messages arrive', () => b.document.value['first'] === 1)
    const { name, keys } = a.context
    expect(name).toBe('settings')
    const silent = { ...a.context, keys: { ...keys, channel: () => 'elsewhere' } }
    const quiet = new ReplicatedDocument<Settings>(silent, {
      name: 'main',
      where: 'settings()',
      initial: {},
      parse: settingsOf,
      refreshMs: 10_000,
    })
    await quiet.update(put('x', 1), '')
    await store.ready()
    expect(b.document.value).toEqual({ first: 1 })
    await advance('10s')
    await until('the other process has it', () => b.document.value['x'] === 1)
  })

  test('the latest changes are recorded, up to 100', async () => {
    const { start, store } = setUp()
    const { document } = start()
    for (let i = 0; i < 102; i++) await document.update(put('x', i), { i })
    expect(await document.changes(2)).toEqual([
      { at: store.now(), record: { i: 101 } },
      { at: store.now(), record: { i: 100 } },
    ])
    expect(await document.changes(1000)).toHaveLength(100)
  })

  test('a document and a record that are too large are refused, and change nothing', async () => {
    const { start } = setUp()
    const { document } = start()
    const many = Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`n${i}`, i]))
    const tooLarge = { code: 'TP_VALUE', message: expect.stringContaining('60000') }
    await expect(document.update(() => many, '')).rejects.toMatchObject(tooLarge)
    await expect(document.update(put('x', 1), 'x'.repeat(5000))).rejects.toMatchObject({
      code: 'TP_VALUE',
    })
    expect(document.value).toEqual({})
    expect(await document.changes(10)).toEqual([])
  })

  test('more than 1000 changes of a process that wait are refused', async () => {
    const { start } = setUp()
    const { document } = start()
    const all = Array.from({ length: 1001 }, (_, i) => document.update(put('x', i), ''))
    await expect(all.at(-1)).rejects.toMatchObject({ code: 'TP_UNAVAILABLE', reason: 'saturated' })
    await Promise.all(all.slice(0, -1))
    expect(document.value).toEqual({ x: 999 })
  })

  test('an error of a change is the error of its caller, and later changes work', async () => {
    const { start } = setUp()
    const { document } = start()
    const failing = document.update(() => {
      throw new RangeError('no')
    }, '')
    await expect(failing).rejects.toThrow('no')
    expect(await document.update(put('x', 1), '')).toEqual({ x: 1 })
  })

  test('each process returns to the initial value when Redis has lost the document', async () => {
    const { start, store, prefix } = setUp()
    const [a, b] = [start(), start()]
    await a.document.update(put('x', 1), '')
    await until('the other process has it', () => b.document.value['x'] === 1)
    if (server()) await server()!.send('DEL', prefix + KEY)
    else (store as any).delete(prefix + KEY)
    await Promise.all([a.document.refresh(), b.document.refresh()])
    expect([a.document.value, b.document.value]).toEqual([{}, {}])
    // The first version of the new document must not be taken for the first one of the old.
    await a.document.update(put('y', 2), '')
    await until('the other process has it', () => b.document.value['y'] === 2)
  })
})

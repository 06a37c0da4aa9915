/** Editors show the documentation of every public name. */
import { afterAll, describe, expect, test } from 'vitest'
import { textOf } from './blocks.ts'
import {
  closeCompiler,
  documentationOf,
  entries,
  exportsOf,
  isOptional,
  membersOfExport,
} from './reference/compiler.ts'

afterAll(closeCompiler)

/** A public name, for example `LockOptions.lease`, with its documentation. */
interface PublicName {
  name: string
  text: string
  tags: readonly string[]
  isOptional: boolean
}

function* namesOf(entry: string): Generator<PublicName> {
  for (const [exported, symbol] of exportsOf(entry)) {
    for (const each of [symbol, ...membersOfExport(symbol)]) {
      const { text, tags } = documentationOf(each)
      yield {
        name: each === symbol ? exported : `${exported}.${each.name}`,
        text,
        tags: tags.map((tag) => tag.name),
        isOptional: isOptional(each),
      }
    }
  }
}

describe.each(entries)('turnpike/%s', (entry) => {
  const names = [...new Map([...namesOf(entry)].map((each) => [each.name, each])).values()]

  test('documents every name', () => {
    const missing = names.filter(({ text, tags }) => text === '' && tags.length === 0)
    expect(missing.map(({ name }) => name)).toEqual([])
  })

  test('states the default of every option that may be omitted', () => {
    const missing = names.filter(
      ({ name, tags, isOptional, text }) =>
        isOptional &&
        /Options\.\w+$/.test(name) &&
        !tags.includes('default') &&
        !/required/i.test(text),
    )
    expect(missing.map(({ name }) => name)).toEqual([])
  })
})

test.each([
  ['jobs', 'jobs'],
  ['realtime', 'realtime'],
  ['collections', 'collections'],
  ['flags', 'flags'],
  ['tokens', 'tokens'],
  ['otel', 'tracing'],
])('each option of turnpike/%s is on docs/%s.md', (entry, page) => {
  const words = new Set(textOf(`docs/${page}.md`).match(/\w+/g))
  const options = [...namesOf(entry)].flatMap(({ name }) => /Options\.(\w+)$/.exec(name)?.[1] ?? [])
  expect(options.length).toBeGreaterThan(2)
  expect(options.filter((option) => !words.has(option))).toEqual([])
})

test('the entries have names', () => {
  const names = entries.map((entry) => [...namesOf(entry)].length)
  expect(Math.max(...names)).toBeGreaterThan(500)
})

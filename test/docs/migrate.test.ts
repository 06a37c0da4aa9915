/** Every migration page says what each deploy changes, and how to roll it back. */
import { describe, expect, test } from 'vitest'
import { documents, textOf } from './blocks.ts'

const pages = documents().filter((document) => document.startsWith('docs/migrate/'))

test('there are pages', () => expect(pages.length).toBeGreaterThanOrEqual(10))

describe.each(pages)('%s', (page) => {
  const rows = [...textOf(page).matchAll(/^\| (\d)(?:, [^|]+)? \| ([^|]+) \| ([^|]+) \|$/gm)]

  test('has three deploys or more, in order', () => {
    expect(rows.length).toBeGreaterThanOrEqual(3)
    expect(rows.map(([, number]) => Number(number))).toEqual(rows.map((_, i) => i + 1))
  })

  test('says how to roll each of them back', () => {
    for (const [, number, , back] of rows) expect(back!.trim(), `deploy ${number}`).not.toBe('')
  })
})

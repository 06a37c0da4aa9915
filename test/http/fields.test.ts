import { describe, expect, it } from 'vitest'
import {
  mergeField,
  parseWriteHeadArguments,
  prefersText,
  addedFields,
} from '../../src/http/headers.ts'

describe('combine', () => {
  it.each([
    ['x-plain', 'old', 'new', 'new'],
    ['set-cookie', undefined, 'a=1', ['a=1']],
    ['set-cookie', 'a=1', ['b=2', 'a=1'], ['a=1', 'b=2']],
    ['vary', undefined, 'Accept', 'Accept'],
    ['vary', 'Accept, Cookie', ['cookie', 'Origin'], 'Accept, Cookie, Origin'],
    ['vary', 'Accept', '*', '*'],
    ['ratelimit', ['"a";r=1', '"b";r=1'], '"c";r=1', '"a";r=1, "b";r=1, "c";r=1'],
    ['ratelimit', undefined, ['"a";r=1', '"b";r=1'], '"a";r=1, "b";r=1'],
    ['content-length', 5, '6', '6'],
  ] as const)('%s: %j and %j', (name, present, added, expected) => {
    expect(mergeField(name, present, added)).toEqual(expected)
  })
})

describe('since', () => {
  it('gives what changed, and of cookies what is new', () => {
    const before = { a: '1', b: ['1', '2'], c: '1', 'set-cookie': 'x=1', vary: undefined }
    const after = {
      a: '1',
      b: ['1', '2'],
      c: 2,
      d: ['3'],
      'set-cookie': ['x=1', 'y=2'],
      date: 'now',
      connection: 'close',
      'keep-alive': 'timeout=5',
      'transfer-encoding': 'chunked',
    }
    expect(addedFields(before, after)).toEqual({ c: '2', d: ['3'], 'set-cookie': ['y=2'] })
  })
})

describe('headOf', () => {
  it.each([
    [[200], undefined, []],
    [[200, 'OK'], 'OK', []],
    [[200, undefined, { A: '1' }], undefined, [['A', '1']]],
    [[200, 'OK', { A: ['1', '2'] }], 'OK', [['A', ['1', '2']]]],
    [
      [200, ['A', '1', 'B', '2', 'a', '3']],
      undefined,
      [
        ['A', ['1', '3']],
        ['B', '2'],
      ],
    ],
    [
      [
        200,
        [
          ['A', '1'],
          ['a', '2'],
        ],
      ],
      undefined,
      [['A', ['1', '2']]],
    ],
  ])('%j', (args, reason, fields) => {
    expect(parseWriteHeadArguments(args)).toEqual({ reason, fields })
  })
})

describe('prefersText', () => {
  it.each([
    [undefined, false],
    ['', false],
    ['*/*', false],
    ['application/json', false],
    ['application/problem+json', false],
    ['application/json, text/plain, */*', false],
    ['text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', false],
    ['text/plain', true],
    ['Text/Plain; charset=utf-8', true],
    ['text/*', true],
    ['text/plain;q=0.5, application/json;q=0.4', true],
    ['text/plain;q=0.5, application/problem+json;q=0.6', false],
    ['text/plain;q=0, */*', false],
    ['text/plain, */*;q=0.1', true],
    ['text/plain;q=nonsense', false],
  ])('%s: %s', (accept, expected) => {
    expect(prefersText(accept)).toBe(expected)
  })
})

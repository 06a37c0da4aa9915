/** Messages of refused options: what is wrong, with the value, and what to do. No secret in them. */
import { inspect } from 'node:util'
import { describe, expect, it, test } from 'vitest'
import { durationOption } from '../../src/duration.ts'
import {
  anyOf,
  boolean,
  integer,
  nonEmptyString,
  oneOf,
  optionError,
  validateOptions,
  type OptionError,
} from '../../src/validate.ts'

function refusal(options: unknown, kinds = {}): OptionError {
  try {
    validateOptions('tp.thing()', options, kinds)
  } catch (error) {
    return error as OptionError
  }
  throw new Error('it was accepted')
}

const shown = (value: unknown, option = 'option'): string =>
  optionError('tp.thing()', option, value, 'a boat').message

describe('a message', () => {
  // The value may come from a client. In quadratic time this would take minutes.
  it.each(['x', 'a:', '@', ':@', '?', 'a:?'])(
    'of a value of 150,000 characters is made in no time: %s',
    (unit) => {
      const message = shown(unit.repeat(150_000 / unit.length))
      expect(message.length).toBeLessThan(200)
    },
  )

  it('names the call and the option, what it accepts, and the value with its type', () => {
    expect(refusal({ limit: -1 }, { limit: integer(0) })).toMatchObject({
      code: 'TP_OPTION',
      message: 'tp.thing(): limit must be an integer, 0 or more. It is -1 (a number).',
      option: 'limit',
      value: -1,
      expected: 'an integer, 0 or more',
      suggestion: undefined,
    })
  })

  it.each([
    [
      { limit: '5' },
      { limit: integer(1, 9) },
      "limit must be an integer, from 1 to 9. It is '5' (a string). Did you mean 5?",
    ],
    [
      { fail: 'opne' },
      { fail: oneOf('open', 'closed') },
      "fail must be 'open' or 'closed'. It is 'opne' (a string). Did you mean 'open'?",
    ],
    // What is not accepted is not suggested.
    [
      { limit: '10' },
      { limit: integer(1, 9) },
      "limit must be an integer, from 1 to 9. It is '10' (a string).",
    ],
    [{ on: 'yes' }, { on: anyOf(boolean, nonEmptyString) }, undefined],
    [
      { on: 5 },
      { on: anyOf(boolean, nonEmptyString) },
      'on must be true or false, or a non-empty string. It is 5 (a number).',
    ],
    [
      { limti: 5 },
      { limit: integer(1), window: integer(1) },
      'there is no option limti. Did you mean limit?',
    ],
    [
      { windowMs: 5 },
      { limit: integer(1), window: integer(1) },
      'there is no option windowMs. Did you mean window?',
    ],
    [
      { colour: 5 },
      { limit: integer(1), window: integer(1) },
      'there is no option colour. The options are limit, window.',
    ],
    [
      { constructor: 5 },
      { limit: integer(1) },
      'there is no option constructor. The options are limit.',
    ],
    [[], {}, 'the options must be an object. It is an array.'],
    [null, {}, 'the options must be an object. It is null.'],
  ])('%j', (options, kinds, message) => {
    if (message === undefined)
      return expect(() => refusal(options, kinds)).toThrow('it was accepted')
    expect(refusal(options, kinds).message).toBe(`tp.thing(): ${message}`)
  })

  it('a duration that is too short is not suggested again', () => {
    expect(() => durationOption('0s', 'tp.thing()', 'ttl')).toThrow(
      /^tp\.thing\(\): ttl must be at least 1 ms\. It is '0s' \(a string\)\.$/,
    )
  })

  test.each<[unknown, string]>([
    [undefined, 'undefined'],
    [null, 'null'],
    [NaN, 'NaN (a number)'],
    [5n, '5 (a bigint)'],
    [true, 'true (a boolean)'],
    [Symbol('s'), 'a symbol'],
    [() => {}, 'a function'],
    [Map, 'a function'],
    [[1, 2], 'an array'],
    [{}, 'an object'],
    [Object.create(null), 'an object'],
    [new Map(), 'an object (Map)'],
    [Promise.resolve(), 'an object (Promise)'],
    [new Date(0), 'an object (Date)'],
    ['', "'' (a string)"],
    ['two\nlines\u001b[31m', "'two\\nlines\\u001b[31m' (a string)"],
    [`say "hi"`, `'say "hi"' (a string)`],
    ['x'.repeat(100), `'${'x'.repeat(57)}...' (a string)`],
  ])('shows %o as %s', (value, expected) => {
    expect(shown(value)).toBe(`tp.thing(): option must be a boat. It is ${expected}.`)
  })
})

describe('a secret', () => {
  test.each(['secret', 'secrets', 'encrypt', 'encryptionSecret', 'password'])(
    'in the option %s stays out of the message and the error',
    (option) => {
      for (const value of ['hunter2', ['hunter2']]) {
        const error = optionError('tp.thing()', option, value, 'longer')
        expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('hunter2')
        expect(JSON.stringify(error)).not.toContain('hunter2')
        const unknown = refusal({ [option]: value }, { window: boolean })
        expect(inspect(unknown, { depth: 9, showHidden: true })).not.toContain('hunter2')
      }
    },
  )

  test('that is too short is described by its length', () => {
    expect(shown('hunter2', 'secret')).toContain('It is a string of 7 characters.')
  })

  test.each([
    'redis://user:hunter2@localhost:6379',
    'redis://:hunter2@localhost',
    'https://u:p@ss@hunter2@host/x?y',
  ])('in the URL %s is masked', (url) => {
    const error = optionError('tp.thing()', 'origin', url, 'a boat')
    expect(inspect(error)).not.toContain('hunter2')
    expect(error.message).toContain('://***@')
  })

  test('in each URL of a list, and in a query, are masked', () => {
    const list = 'redis://a:hunter2@one,redis://b:hunter2@two?password=hunter2?hunter2'
    expect(inspect(optionError('tp.thing()', 'origin', list, 'a boat'))).not.toContain('hunter2')
  })
})

/** Options, as people get them right and wrong. */
import { describe, expect, test } from 'vitest'
import { turnpike } from '../../../src/express.ts'
import { testStore } from '../../../src/testing.ts'

const tp = () => turnpike({ store: testStore() })

/** The error that making a limit throws. */
function thrown(make: () => unknown): Error & Record<string, unknown> {
  try {
    make()
  } catch (error) {
    return error as Error & Record<string, unknown>
  }
  throw new Error('it did not throw')
}

describe('a bad option throws when the middleware is made: which, its value, what is expected, what was meant', () => {
  test.each([
    [{ limt: 5, window: '1m' }, 'limt', undefined, 'limit'],
    [{ limit: 5, window: '15 minutes' }, 'window', '15 minutes', "'15m'"],
    [{ limit: 5, window: '1hour' }, 'window', '1hour', "'1h'"],
    [{ limit: 5, window: '2 hrs' }, 'window', '2 hrs', "'2h'"],
    [{ limit: '5', window: '1m' }, 'limit', '5', '5'],
    [{ limit: -1, window: '1m' }, 'limit', -1, undefined],
    [{ limit: 1.5, window: '1m' }, 'limit', 1.5, undefined],
    [{ limit: Number.NaN, window: '1m' }, 'limit', Number.NaN, undefined],
    [{ limit: -Infinity, window: '1m' }, 'limit', -Infinity, undefined],
    [{ limit: 5, window: '1m', cost: Infinity }, 'cost', Infinity, undefined],
    [{ limit: 5 }, 'window', undefined, undefined],
    [{ window: '1m' }, 'limit', undefined, undefined],
    [{ limit: 5, window: 0 }, 'window', 0, undefined],
    [{ limit: 5, window: '400d' }, 'window', '400d', undefined],
    [{ limit: 5, window: '1m', algorithm: 'sliding' }, 'algorithm', 'sliding', undefined],
    [
      { limit: 5, window: '1m', algorithm: 'slidingwindow' },
      'algorithm',
      'slidingwindow',
      "'sliding-window'",
    ],
    [{ limit: 5, window: '1m', fail: 'closd' }, 'fail', 'closd', "'closed'"],
    [{ limit: 5, window: '1m', key: 'ip' }, 'key', 'ip', undefined],
    [{ limit: 5, window: '1m', name: 'my limit!' }, 'name', 'my limit!', "'my-limit-'"],
    [{ limit: 5, window: '1m', burst: 10 }, 'burst', 10, undefined],
    [{ limit: 5, window: '1h', timeZone: 'Europe/Berlin' }, 'timeZone', 'Europe/Berlin', undefined],
    [
      { limit: 5, window: '1d', timeZone: 'Europe/Atlantis' },
      'timeZone',
      'Europe/Atlantis',
      undefined,
    ],
    [{ limit: 5, window: 'month', algorithm: 'gcra' }, 'algorithm', 'gcra', undefined],
    [{ limit: 5, window: '1m', blockFor: '1h', blockMax: '1m' }, 'blockMax', '1m', undefined],
    [{ limit: 5, window: '1m', ipv6Subnet: 129 }, 'ipv6Subnet', 129, undefined],
    [{ limit: 5, window: '1m', denyCache: true, countDenied: true }, 'denyCache', true, undefined],
    [{ policies: [] }, 'policies', undefined, undefined],
    [
      {
        policies: [
          { limit: 1, window: '1m' },
          { limit: 2, window: '1m' },
        ],
      },
      'name',
      '1m',
      undefined,
    ],
    [{ limit: 5, policies: [{ limit: 1, window: '1m' }] }, 'limit and window', 5, undefined],
    [{ policies: [{ limit: 1, windw: '1m' }] }, 'windw', undefined, 'window'],
    [{ limiter: {} }, 'limiter', undefined, undefined],
  ])('%o', (options, option, value, suggestion) => {
    const error = thrown(() => tp().rateLimit(options as never))
    expect(error).toMatchObject({
      code: 'TP_OPTION',
      option,
      suggestion,
      help: 'turnpike/docs/errors.md#tp_option',
    })
    expect(error['value']).toEqual(value)
    expect(error['expected']).toEqual(expect.any(String))
    expect(error.message).toMatch(/^tp\.rateLimit\(\)/)
    expect(error.message).toContain(option)
    if (suggestion) expect(error.message).toContain(`Did you mean ${suggestion}?`)
  })

  test.each([
    [() => tp().rateLimit(undefined as never), 'the options'],
    [() => tp().loginGuard({} as never), 'key'],
    [() => tp().loginGuard({ key: () => 'a', limitt: 3 } as never), 'limitt'],
    [() => tp().limiter('a b', { limit: 1, window: '1m' }), 'name'],
    [() => tp().limiter('a', { limit: 1, window: '1m', key: () => 'x' } as never), 'key'],
    [() => tp().health({ path: 5 } as never), 'path'],
    [() => tp().key.ip({ ipv6Subnet: 0 }), 'ipv6Subnet'],
    [() => tp().forTenant(5 as never), 'id'],
    [() => turnpike({ prefx: 'a' } as never), 'prefx'],
  ])('%s', (make, option) => {
    expect(thrown(make)).toMatchObject({ code: 'TP_OPTION', option })
  })

  test('overrides must be integers', async () => {
    await expect(tp().overrides.set('a', { minute: 'lots' } as never)).rejects.toMatchObject({
      code: 'TP_OPTION',
      option: 'minute',
    })
    await expect(tp().overrides.set('a', {})).rejects.toMatchObject({
      code: 'TP_OPTION',
      option: 'limits',
    })
  })
})

test('two limits with one derived name are reported once', () => {
  const instance = tp()
  const warnings: string[] = []
  instance.on('warning', ({ message }) => warnings.push(message))
  instance.rateLimit({ limit: 5, window: '1m' })
  instance.rateLimit({ limit: 6, window: '1m' })
  instance.rateLimit({ limit: 5, window: '1m', name: 'mine' })
  instance.rateLimit({ limit: 5, window: '1m', name: 'mine' })
  expect(warnings).toEqual([])
  instance.rateLimit({ limit: 5, window: '1m' })
  instance.rateLimit({ limit: 5, window: '1m' })
  expect(warnings).toEqual([expect.stringContaining('5-1m')])
})

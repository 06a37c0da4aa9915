/** Spans have names from code, the time that was spent, and nothing that a client or user has sent. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { channel } from 'node:diagnostics_channel'
import { inspect } from 'node:util'
import {
  context,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  type Context,
  type ContextManager,
} from '@opentelemetry/api'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
  type ReadableSpan,
} from '@opentelemetry/sdk-trace-base'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { ioredisOptions, TurnpikeInstrumentation } from '../../../src/otel.ts'
import { turnpike } from '../../../src/node.ts'
import { isTraced } from '../../../src/store/operation-trace.ts'
import { acquireLock } from '../../../src/features/lock/operations.ts'
import { startRedis, testStore, type RedisServer } from '../../../src/testing.ts'
import { oneTimeTokens } from '../../../src/tokens.ts'
import { startCluster } from '../../support/cluster.ts'
import { express4App, express5, koa3 } from '../../support/serve.ts'
import { until } from '../../support/until.ts'

/** As the one of OpenTelemetry's package for Node. */
class StorageContextManager implements ContextManager {
  readonly #storage = new AsyncLocalStorage<Context>()
  active = (): Context => this.#storage.getStore() ?? ROOT_CONTEXT
  with: ContextManager['with'] = (given, work, self, ...args) =>
    this.#storage.run(given, () => Reflect.apply(work, self, args))
  bind: ContextManager['bind'] = (_given, target) => target
  enable = (): this => this
  disable = (): this => this
}

let server: RedisServer
beforeAll(async () => {
  server = await startRedis()
  context.setGlobalContextManager(new StorageContextManager())
})
afterAll(async () => {
  context.disable()
  await server.stop()
})

/** Traces what happens from now on, within a span `parent`. */
function traced(options: ConstructorParameters<typeof TurnpikeInstrumentation>[0] = {}) {
  const exporter = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  const instrumentation = new TurnpikeInstrumentation(options)
  instrumentation.setTracerProvider(provider)
  onTestFinished(() => instrumentation.disable())
  const tracer = provider.getTracer('test')
  const parent = tracer.startSpan('parent')
  const within = <Result>(work: () => Result): Result =>
    context.with(trace.setSpan(ROOT_CONTEXT, parent), work)
  const spans = (): ReadableSpan[] => exporter.getFinishedSpans()
  const names = (): string[] => spans().map(({ name }) => name)
  return { exporter, instrumentation, parent, within, spans, names }
}

function opened(options: object = {}) {
  const tp = turnpike({
    redis: server.url,
    prefix: `o${Math.random()}`,
    commandTimeout: '5s',
    operations: false,
    logger: false,
    ...options,
  })
  onTestFinished(() => tp.close())
  return tp
}

describe('a call to Redis', () => {
  it('is a span named by operation, with the semantic conventions for databases', async () => {
    const tp = opened()
    await tp.ready()
    const { parent, spans, within } = traced({ features: false })
    await within(() => tp.lock('canary-report', {}, () => {}))
    const acquired = spans().find(({ name }) => name.startsWith('EVALSHA'))!
    expect(spans().map(({ name }) => name)).toEqual([
      `EVALSHA ${acquireLock.name}`,
      'EVALSHA lock.release',
    ])
    expect(acquired.kind).toBe(SpanKind.CLIENT)
    expect(acquired.attributes).toEqual({
      'db.system.name': 'redis',
      'db.operation.name': 'EVALSHA',
      'db.stored_procedure.name': acquireLock.name,
      'db.namespace': '0',
      'server.address': '127.0.0.1',
      'server.port': server.port,
    })
    expect(acquired.parentSpanContext?.spanId).toBe(parent.spanContext().spanId)
    expect(acquired.duration[1]).toBeGreaterThan(0)
  })

  it('that fails says why, and not what was sent', async () => {
    const own = await startRedis()
    onTestFinished(() => own.stop())
    const tp = opened({ redis: own.url, commandTimeout: '200ms' })
    await tp.ready()
    const { spans, within } = traced({ features: false })
    await own.send('SET', 'x', '1')
    own.freeze()
    await within(() => tp.data.get('canary-key').catch(() => {}))
    own.thaw()
    const [span] = spans()
    expect(span!.attributes['error.type']).toBe('timeout')
    expect(span!.status).toEqual({ code: SpanStatusCode.ERROR, message: 'timeout' })
    expect(inspect(span!.attributes)).not.toContain('canary')
  })

  it('outside a span makes none, unless requireParent is false', async () => {
    const tp = opened()
    await tp.ready()
    const { instrumentation, names } = traced()
    await tp.data.get('a')
    expect(names()).toEqual([])
    instrumentation.setConfig({ requireParent: false, features: false })
    await tp.data.get('a')
    expect(names()).toHaveLength(1)
  })

  it('is not described while nothing subscribes', async () => {
    const tp = opened()
    await tp.ready()
    expect(isTraced()).toBe(false)
    const { instrumentation, names, within } = traced()
    expect(isTraced()).toBe(true)
    instrumentation.disable()
    expect(isTraced()).toBe(false)
    await within(() => tp.data.get('a'))
    expect(names()).toEqual([])
    instrumentation.enable()
    instrumentation.enable()
    await within(() => tp.data.get('a'))
    expect(names()).toHaveLength(1)
  })

  it('on a Cluster is a span, too', async () => {
    await using cluster = await startCluster({ replicas: 0 })
    const tp = opened({ redis: { cluster: cluster.startup } })
    await tp.ready()
    const { spans, within } = traced({ features: false })
    await within(() => tp.data.get('a'))
    expect(spans().length).toBeGreaterThan(0)
    for (const { attributes } of spans()) expect(attributes).not.toHaveProperty('server.address')
    await tp.close()
  }, 30_000)
})

describe('what other subscribers of the channel get', () => {
  it('are names, the same object from start to end, and no reply', async () => {
    const tp = opened()
    await tp.ready()
    const seen: [string, unknown][] = []
    for (const event of ['start', 'end', 'asyncStart', 'asyncEnd', 'error']) {
      const bus = channel(`tracing:turnpike:operation:${event}`)
      const note = (message: unknown): void => void seen.push([event, message])
      bus.subscribe(note)
      onTestFinished(() => {
        bus.unsubscribe(note)
      })
    }
    await tp.data.set('canary-key', 'canary-value', { ttl: '1m' })
    await tp.data.get('canary-key')
    const [[, first]] = seen as [[string, unknown]]
    const same = seen.filter(([, message]) => message === first)
    expect(same.map(([event]) => event)).toEqual(['start', 'end', 'asyncStart', 'asyncEnd'])
    expect(seen.length).toBeGreaterThanOrEqual(8)
    expect(inspect(seen, { depth: Infinity, showHidden: true })).not.toContain('canary')
  })
})

describe.each([express4App, express5, koa3])('the features on $name', ({ serve }) => {
  it('are spans within that of the request, and no canary is in any of them', async () => {
    const { instrumentation, parent, names, spans, within } = traced()
    const { tp, get } = await serve({
      options: {
        redis: server.url,
        prefix: `o${Math.random()}`,
        commandTimeout: '5s',
        requestBudget: '5s',
        operations: false,
        logger: false,
      },
      routes: (tp) => {
        const all = tp.pipeline(
          tp.session({ secret: 'canary-secret-that-is-long-enough' }),
          tp.rateLimit({ name: 'api', limit: 3, window: '1h', key: () => 'canary-user' }),
          tp.idempotency({ name: 'pay', methods: ['GET'], scope: () => 'canary-user' } as never),
          tp.cache({ name: 'pages', ttl: '1m', tags: () => ['canary-tag'] }),
        )
        // As an instrumentation of HTTP does.
        const here = (native: any, ...rest: any[]) => within(() => all(native, ...rest))
        return { '/canary-path': here }
      },
    })
    await tp.ready()
    const headers = {
      cookie: 'sid=s%3Acanary-session.canary-signature',
      authorization: 'Bearer canary-token',
      'idempotency-key': 'canary-key',
    }
    for (let i = 0; i < 5; i++)
      await get(`/canary-path?canary=${i}`, i % 2 ? headers : { 'x-canary': 'canary' })
    await within(async () => {
      await tp.lock('canary-lock', {}, async () => 'canary-result')
      await tp.data.set('canary-key', 'canary-value', { ttl: '1m' })
      await tp.data.getOrFetch('canary-other', () => 'canary-loaded')
      const tokens = oneTimeTokens(tp, { purpose: 'verify' })
      const issued = await tokens.issue('canary@example.org')
      await tokens.consume(null, issued.sent ? issued.code : '')
    })
    await until('the response is stored', () => names().includes('turnpike fill pages'))
    instrumentation.disable()
    expect(names()).toEqual(
      expect.arrayContaining([
        'turnpike rateLimit api',
        'turnpike cache pages',
        'turnpike fill pages',
        'turnpike idempotency pay',
        'turnpike lock',
        'turnpike oneTimeTokens verify',
      ]),
    )
    expect(names().filter((name) => /^(EVALSHA|GET|MGET) /.test(name)).length).toBeGreaterThan(5)
    const refused = spans().find(({ attributes }) => attributes['turnpike.type'] === 'refused')!
    expect(refused.attributes).toEqual({
      'turnpike.feature': 'rateLimit',
      'turnpike.name': 'api',
      'turnpike.type': 'refused',
      'turnpike.source': 'store',
      'turnpike.policy': 'api',
    })
    parent.end()
    const { spanId } = parent.spanContext()
    for (const { name, parentSpanContext, startTime, endTime } of spans().slice(0, -1)) {
      expect(parentSpanContext?.spanId, name).toBe(spanId)
      expect(endTime[0] * 1e3 + endTime[1] / 1e6).toBeGreaterThanOrEqual(
        startTime[0] * 1e3 + startTime[1] / 1e6,
      )
    }
    const text = inspect(
      spans().map(({ attributes, events, links, name, status }) => ({
        attributes,
        events,
        links,
        name,
        status,
      })),
      { depth: Infinity },
    )
    expect(text.match(/.{0,60}canary.{0,40}/g) ?? []).toEqual([])
  })
})

describe('what takes no time', () => {
  it('is an event of the span that is active', async () => {
    const store = testStore()
    const tp = turnpike({ store })
    onTestFinished(() => tp.close())
    const { parent, spans, within } = traced()
    store.fail()
    await within(() => tp.limiter('api', { limit: 1, window: '1m' }).consume('canary'))
    parent.end()
    const events = spans().find(({ name }) => name === 'parent')!.events
    expect(events).toMatchObject([
      {
        name: 'turnpike unavailable',
        attributes: { 'turnpike.feature': 'limiter', 'turnpike.rule': 'local' },
      },
    ])
    expect(inspect(events, { depth: 5 })).not.toContain('canary')
  })
})

describe('ioredisOptions()', () => {
  const { dbStatementSerializer, requestHook } = ioredisOptions()

  it.each([
    ['evalsha', [acquireLock.sha, 1, 'canary-key', 'canary-value'], `EVALSHA ${acquireLock.name}`],
    ['eval', [acquireLock.lua, 1, 'canary-key', 'canary-value'], `EVAL ${acquireLock.name}`],
    ['evalsha', ['canary-unknown', 1, 'canary'], 'EVALSHA'],
    ['eval', ["return 'canary'", 0], 'EVAL'],
    ['get', ['canary-key'], 'GET'],
    ['auth', ['canary-user', 'canary-password'], 'AUTH'],
    ['evalsha', [Buffer.from('canary')], 'EVALSHA'],
    ['evalsha', [], 'EVALSHA'],
    ['canary key', ['x'], 'UNKNOWN'],
  ])('names the command %s %j without its arguments', (command, args, text) => {
    expect(dbStatementSerializer(command, args)).toBe(text)
    const named: string[] = []
    const span = { updateName: (name: string) => named.push(name) }
    requestHook(span as never, { cmdName: command, cmdArgs: args })
    expect(named).toEqual([text])
  })
})

it.each([
  [{ requireParents: true }, /Did you mean requireParent/],
  [{ features: 'yes' }, /features must be true or false/],
])('new TurnpikeInstrumentation(%j) is refused', (options, message) => {
  expect(() => new TurnpikeInstrumentation(options as never)).toThrow(message)
})

/** The tests of these applications run on both engines. */
import { startRedis, testStore } from 'turnpike/testing'
import { afterAll, afterEach, beforeAll, describe } from 'vitest'

interface Application {
  tp: { ready(): Promise<void>; close(): Promise<void> }
}
type Open = <Options extends object, App extends Application>(
  create: (options?: Options) => App,
  options?: NoInfer<Options>,
) => Promise<App>

/** Declares tests that run in the process, and on a Redis that they start. */
export function onBothEngines(tests: (open: Open) => void): void {
  const applications: Application[] = []
  async function opened<App extends Application>(application: App): Promise<App> {
    applications.push(application)
    await application.tp.ready()
    return application
  }
  afterEach(async () => {
    await Promise.all(applications.splice(0).map(({ tp }) => tp.close()))
  })

  describe('in the process', () => {
    tests((create, options) => opened(create({ ...options, store: testStore() } as never)))
  })
  describe('on Redis', () => {
    let redis: Awaited<ReturnType<typeof startRedis>>
    let count = 0
    beforeAll(async () => {
      redis = await startRedis()
    })
    afterAll(() => redis.stop())
    // A machine that is busy with tests may take its time.
    const patient = { commandTimeout: '10s', requestBudget: '20s' }
    tests((create, options) => {
      const own = { redis: redis.url, prefix: `app-${++count}` }
      return opened(create({ ...options, ...patient, ...own } as never))
    })
  })
}

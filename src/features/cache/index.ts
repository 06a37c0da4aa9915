/** The response cache: `tp.cache()` and `tp.invalidate()`. */
import { cacheStoreOf } from '../../caching/cache-store.ts'
import { fillContext } from '../../caching/fill-context.ts'
import type { ExtensionContext } from '../../extension.ts'
import { passThrough, type Plan, type RequestHead } from '../../http/exchange.ts'
import { carryOverOwnRequests } from '../../http/own-requests.ts'
import {
  anyOf,
  boolean,
  callback,
  oneOf,
  validateOptions,
  type Validator,
  isListOf,
  nonEmptyString,
} from '../../validate.ts'
import { createControl, type CacheControl } from './control.ts'
import { CacheEngine } from './engine.ts'
import { CacheFeature } from './feature.ts'
import { invalidateAfter } from './invalidation.ts'
import { ListenerAnswers } from './listener-answers.ts'
import { createMount, tagList } from './mount.ts'
import type { CacheOptions, InvalidateOptions } from './options.ts'

/** `tp.cache`: creates middlewares, and controls what they store. */
export interface ResponseCache<Native, Middleware> extends CacheControl {
  /**
   * Returns a middleware that caches the responses of what is mounted behind it. Responses that may
   * be personal are not shared: docs/cache.md says which.
   * @throws TP_OPTION
   * @example
   * app.get('/products/:id', tp.cache({ ttl: '5m', tags: (req) => [`product:${req.params.id}`] }), showProduct)
   */
  (options: CacheOptions<Native>): Middleware
}

/** The response cache of an instance. */
export interface Caching<Native, Middleware> {
  /** Caches responses: `tp.cache(options)` returns a middleware, `tp.cache.invalidate()` and others control what is stored. */
  readonly cache: ResponseCache<Native, Middleware>
  /**
   * Returns a middleware that invalidates the request's URL, and what the options name, after a request
   * that succeeded. The client sees the end of the response afterwards. If the invalidation cannot be
   * written, the request fails with 503.
   * @throws TP_OPTION
   * @example
   * app.put('/products/:id', tp.invalidate({ tags: (req) => [`product:${req.params.id}`] }), saveProduct)
   */
  invalidate(options?: InvalidateOptions<Native>): Middleware
}

const urlList: Validator = {
  expected: 'a list of URLs or paths',
  accepts: (value) => isListOf(value, nonEmptyString.accepts, 0),
}

const INVALIDATE_OPTIONS: Record<string, Validator> = {
  tags: anyOf(tagList, callback),
  purge: anyOf(urlList, callback),
  soft: boolean,
  when: callback,
  fail: oneOf('closed', 'open'),
}

/** Creates the response cache of an instance. Its store is opened when it is first used. */
export function createCaching<Native, Middleware>(
  context: ExtensionContext<Native, Middleware>,
): {
  api: Caching<Native, Middleware>
  hitRate(): number | undefined
  /** Answers a request before the framework gets it. Undefined: the framework must get it. */
  answerEarly(listenerKey: string, request: RequestHead): Plan | Promise<Plan> | undefined
} {
  let engine: CacheEngine | undefined
  const open = (): CacheEngine => (engine ??= new CacheEngine(context, cacheStoreOf(context)))
  const listenerAnswers = new ListenerAnswers()
  const cache = (options: CacheOptions<Native>): Middleware => {
    const mount = createMount(open, options)
    carryOverOwnRequests(fillContext)
    return context.mount(new CacheFeature(mount, listenerAnswers))
  }
  return {
    api: {
      cache: Object.assign(cache, createControl(open)),
      invalidate(options = {}) {
        validateOptions('tp.invalidate()', options, INVALIDATE_OPTIONS)
        return context.mount({
          name: 'invalidate',
          handle: (x) => (x.isBackground ? passThrough : invalidateAfter(open(), options, x)),
        })
      },
    },
    hitRate: () => engine?.stats().hitRate,
    answerEarly: (listenerKey, request) => listenerAnswers.answer(listenerKey, request),
  }
}

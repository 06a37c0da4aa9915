/** `turnpike cache purge` and `clear`: invalidate cached responses. */
import { CommandError, type Command } from './command.ts'
import { makeChange } from './change.ts'

const tenantOption = (tenant: string | undefined): { tenant?: string } =>
  tenant === undefined ? {} : { tenant }

export const cachePurge: Command = {
  name: 'cache purge',
  usage: '',
  takes: [0, 0],
  summary: 'Invalidate cached responses by URL, tag or pattern, in all processes.',
  notes: [
    'A URL means its path: for all hosts, scopes and variants, and for every query if it has none. A URL with a query is that of mounts without rules for queries.',
  ],
  options: {
    url: { type: 'string', value: 'URL', help: 'A URL or a path.' },
    tag: { type: 'string', value: 'TAG', help: 'A tag.' },
    pattern: {
      type: 'string',
      value: 'PATTERN',
      help: 'A pattern of paths or own keys. `*` stands for any characters. Sends SCAN, to free the memory.',
    },
    soft: {
      type: 'boolean',
      help: 'Make what has the tag stale, so that it may still be served meanwhile.',
    },
  },
  redis: 'write',
  examples: [
    'turnpike cache purge --url /products/1',
    'turnpike cache purge --tag products --soft',
  ],
  async run(call) {
    const { pattern, soft, tag, url } = call.options as Record<string, string | undefined> & {
      soft?: boolean
    }
    if ([pattern, tag, url].filter((each) => each !== undefined).length !== 1)
      throw new CommandError(
        'usage',
        'turnpike cache purge takes one of --url, --tag and --pattern.',
      )
    if (soft === true && tag === undefined)
      throw new CommandError('usage', '--soft goes with --tag only.')
    if (url !== undefined && !/^(?:https?:\/)?\/./i.test(url) && url !== '/')
      throw new CommandError(
        'usage',
        `--url must be a URL or a path, like https://shop.example/products/1 or /products/1. It is '${url}'.`,
      )
    const target = await call.target()
    const tenant = tenantOption(target.tenant)
    const what = url ?? tag ?? pattern!
    const kind = url === undefined ? (tag === undefined ? 'pattern' : 'tag') : 'URL'
    return await makeChange(call, cachePurge, target, {
      subject: `${kind} ${what}`,
      lines: [
        `${soft === true ? 'Make stale' : 'Invalidate'} the cached responses of the ${kind} ${what}.`,
      ],
      ...(pattern !== undefined && { typed: pattern }),
      async make() {
        const { cache } = target.instance()
        if (url !== undefined) await cache.purge(url, tenant)
        if (tag !== undefined)
          await cache.invalidate({ tags: [tag], soft: soft === true, ...tenant })
        if (pattern === undefined) return { data: {}, line: 'Invalidated.' }
        const count = await cache.invalidatePattern(pattern, tenant)
        return { data: { count }, line: `Invalidated ${count}.` }
      },
    })
  },
}

export const cacheClear: Command = {
  name: 'cache clear',
  usage: '',
  takes: [0, 0],
  summary: 'Invalidate all cached responses and values, in all processes.',
  notes: ['Every handler runs again. The memory becomes free as the entries expire.'],
  redis: 'write',
  async run(call) {
    const target = await call.target()
    return await makeChange(call, cacheClear, target, {
      subject: target.tenant ?? target.start,
      lines: [`Invalidate everything that is cached under the prefix ${target.start}.`],
      typed: target.tenant ?? target.start,
      async make() {
        await target.instance().cache.clear(tenantOption(target.tenant))
        return { data: {}, line: 'Invalidated.' }
      },
    })
  },
}

/** What is cached, and why it is or is not. */
import { formatBytes, formatShare, formatSpan } from '../../commands/format.ts'
import { askForm, changeButton, scanButton, scanNote, type View } from './context.ts'
import { h, table, type Content } from './elements.ts'

const OUTCOMES = ['hit', 'near', 'stale', 'collapsed', 'miss', 'bypass']

function cacheEntries(data: any): Content {
  const entries = data.entries ?? data.variants ?? (data.entry ? [data.entry] : [])
  return [
    'entry' in data &&
      data.entry === null &&
      h(
        'p',
        { class: 'notice' },
        'Nothing is stored under this URL. The table of fills says why responses are not stored.',
      ),
    entries.length > 0 &&
      table(
        'Cached responses',
        ['Name', 'Status', 'State', 'Age', 'Fresh for', 'Size', 'Made in', 'Tags'],
        entries.map((entry: any, i: number) => ({
          key: `${entry.key ?? entry.name} ${i}`,
          cells: [
            entry.name,
            entry.status,
            h('span', { class: entry.state === 'fresh' ? 'good' : 'review' }, entry.state),
            formatSpan(data.now - entry.storedAt),
            entry.freshUntil > data.now ? formatSpan(entry.freshUntil - data.now) : '-',
            formatBytes(entry.storedLength),
            formatSpan(entry.cost),
            (entry.tags ?? [])
              .filter((tag: string) => tag.startsWith('t:'))
              .map((tag: string) => tag.slice(2))
              .join(', ') || '-',
          ],
        })),
      ),
    scanNote(data.scan),
  ]
}

export const cacheView: View = {
  title: 'Cache',
  show: (data, context) => [
    askForm(context, {
      name: 'url',
      label: 'Whole URL, like https://shop.example/products/1',
      button: 'Explain',
    }),
    scanButton(context, 'List entries'),
    h(
      'p',
      { class: 'row' },
      changeButton(context, 'Purge a URL', {
        title: 'Purge a URL',
        command: 'cache purge',
        args: [],
        options: {},
        fields: [{ name: 'url', label: 'URL or path', isRequired: true }],
      }),
      changeButton(context, 'Purge a tag', {
        title: 'Purge a tag',
        command: 'cache purge',
        args: [],
        options: {},
        fields: [{ name: 'tag', label: 'Tag', isRequired: true }],
      }),
      changeButton(context, 'Purge a pattern', {
        title: 'Purge a pattern',
        command: 'cache purge',
        args: [],
        options: {},
        fields: [
          {
            name: 'pattern',
            label: 'Pattern of paths. * stands for any characters',
            isRequired: true,
          },
        ],
      }),
      changeButton(context, 'Clear', {
        title: 'Invalidate everything',
        command: 'cache clear',
        args: [],
        options: {},
      }),
    ),
    cacheEntries(data),
    data.caches &&
      table(
        'Requests in the last five minutes',
        ['Cache', ...OUTCOMES, 'Answered from the cache'],
        data.caches.map(({ name, requests }: any) => {
          const counts = OUTCOMES.map((outcome) => Number(requests[outcome] ?? 0))
          const asked = counts.slice(0, -1).reduce((sum, count) => sum + count, 0)
          const answered = asked - counts[4]!
          return {
            key: name,
            cells: [name, ...counts, asked > 0 ? formatShare(answered / asked) : '-'],
          }
        }),
      ),
    data.caches &&
      table(
        'Responses made in the last five minutes: stored, or why not',
        ['Cache', 'Outcome', 'Count'],
        data.caches.flatMap(({ fills, name }: any) =>
          Object.entries(fills).map(([outcome, count]) => ({
            key: `${name} ${outcome}`,
            cells: [name, outcome, count as number],
          })),
        ),
      ),
  ],
}

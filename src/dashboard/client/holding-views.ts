/** What users and requests hold: sessions, locks, idempotency keys. */
import { formatBytes, formatSpan, formatTime } from '../../commands/format.ts'
import {
  ago,
  askForm,
  changeButton,
  scanButton,
  scanNote,
  type View,
  type ViewContext,
} from './context.ts'
import { h, table, type Content } from './elements.ts'

export const sessionsView: View = {
  title: 'Sessions',
  show: (data, context) => [
    askForm(context, { name: 'user', label: 'User', button: 'Look up' }),
    context.query['user'] !== undefined && [
      table(
        'Sessions of the user',
        ['Handle', 'Since', 'Last seen', 'Ends in', 'Address', 'User agent', 'Actions'],
        (data.sessions ?? []).map((row: any) => ({
          key: row.handle,
          cells: [
            row.handle,
            formatTime(row.created),
            ago(data.now, row.lastSeen),
            row.expires === undefined ? '?' : formatSpan(row.expires - data.now),
            row.ip ?? '-',
            row.userAgent ?? '-',
            changeButton(context, 'End', {
              title: 'End a session',
              command: 'sessions revoke',
              args: [row.handle],
              options: {},
            }),
          ],
        })),
      ),
      changeButton(context, 'End all', {
        title: 'End all sessions of the user',
        command: 'sessions revoke-all',
        args: [context.query['user']],
        options: {},
      }),
    ],
  ],
}

function breakButton(row: any, context: ViewContext): Content {
  const named = { command: 'locks break', args: [row.name] }
  if (row.kind === 'lock')
    return changeButton(context, 'Break', { ...named, title: 'Release a lock', options: {} })
  if (!row.permit) return undefined
  const permit = `${row.host}/${row.pid}/${row.permit}`
  return changeButton(context, 'Break', {
    ...named,
    title: 'Release a permit',
    options: { permit },
  })
}

export const locksView: View = {
  title: 'Locks & semaphores',
  show: (data, context) => [
    askForm(context, {
      name: 'name',
      label: 'Name. Parts of a compound name are separated by a colon',
      button: 'Look up',
    }),
    scanButton(context, 'List all'),
    data.held &&
      table(
        'Held',
        [
          'Name',
          'Kind',
          'Holder',
          'Held for',
          'Lease ends in',
          'Waiting',
          'Token',
          'Permit',
          'Actions',
        ],
        data.held.map((row: any, i: number) => ({
          key: `${row.kind} ${row.name} ${row.token ?? row.permit ?? i}`,
          cells: [
            row.name,
            row.kind,
            `${row.host}/${row.pid}`,
            formatSpan(data.now - row.since),
            formatSpan(row.until - data.now),
            row.waiting,
            row.token ?? '-',
            row.permit ?? '-',
            !/[%~=]/.test(row.name) && breakButton(row, context),
          ],
        })),
      ),
    scanNote(data.scan),
  ],
}

export const idempotencyView: View = {
  title: 'Idempotency',
  show: (data, context) => [
    scanButton(context, 'List requests'),
    data.records &&
      table(
        'Requests with an idempotency key',
        ['ID', 'State', 'Attempts', 'Lease', 'Kept for', 'Response', 'Steps', 'Actions'],
        data.records.map((row: any) => ({
          key: row.id,
          cells: [
            row.id,
            h('span', { class: row.state === 'stuck' ? 'bad' : '' }, row.state),
            row.attempts ?? '-',
            row.leaseEnds === undefined ? '-' : formatTime(row.leaseEnds),
            formatSpan(row.expires - data.now),
            row.responseBytes > 0 ? formatBytes(row.responseBytes) : '-',
            row.steps,
            (row.state === 'stuck' || row.state === 'running') &&
              changeButton(context, 'Release', {
                title: 'Release an idempotency key',
                command: 'idempotency release',
                args: [row.id],
                options: {},
              }),
          ],
        })),
      ),
    scanNote(data.scan),
  ],
}

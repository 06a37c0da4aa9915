/** Limits, and the rules that come before them. */
import { formatSpan, formatTime } from '../../commands/format.ts'
import { askForm, changeButton, type View, type ViewContext } from './context.ts'
import { h, table, type Content } from './elements.ts'

const DURATION = {
  name: 'for',
  label: 'For how long, like 30m, 1h or 7d',
  value: '1h',
  isRequired: true,
}

function limitState(state: any): Content {
  if (!state) return h('span', { class: 'faint' }, 'depends on the request')
  if (!state.isLimited) return h('span', { class: 'good' }, 'ok')
  const wait = state.retryAfter < 0 ? 'for ever' : `for ${formatSpan(state.retryAfter)}`
  return h('span', { class: 'bad' }, `${state.isBlocked ? 'blocked' : 'limited'} ${wait}`)
}

/** @param target what the rule is for: `limit:web`, `policy:web.minute`, `subject:ada` or an address */
function liftButton(context: ViewContext, target: string): Content {
  const [, kind, name = ''] = /^(limit|policy):(.*)$/s.exec(target) ?? []
  if (kind === undefined)
    return changeButton(context, 'Unblock', {
      title: 'Lift a rule',
      command: 'unblock',
      args: [target],
      options: {},
    })
  return changeButton(context, 'Default', {
    title: `Set a ${kind} to what its options say`,
    command: kind === 'limit' ? 'mode' : 'plan',
    args: [name, 'default'],
    options: {},
  })
}

function limitButtons(row: any, context: ViewContext): Content {
  if (!row.of) return undefined
  const { parts, tenant } = row.of
  const args: string[] = parts
  const own = tenant === undefined ? {} : { tenant }
  const named = { command: 'limits reset', args, options: {}, ...own }
  return [
    changeButton(context, 'Reset', { ...named, title: 'Reset limits' }),
    changeButton(context, 'Block', {
      ...named,
      command: 'limits block',
      title: 'Block at limits',
      fields: [DURATION],
    }),
    changeButton(context, 'Set', {
      ...named,
      command: 'limits set',
      title: 'Set limits of this subject alone',
      fields: [
        {
          name: 'limits',
          label: 'POLICY=LIMIT, or POLICY=unlimited. Separate several by spaces',
          value: `${row.policy}=${row.state?.limit ?? ''}`,
          isRequired: true,
        },
        { ...DURATION, value: '', isRequired: false },
      ],
    }),
    changeButton(context, 'Unset', {
      ...named,
      command: 'limits unset',
      title: 'Forget limits of this subject alone',
    }),
  ]
}

export const limitsView: View = {
  title: 'Limits',
  isLive: true,
  show: (data, context) => [
    askForm(context, {
      name: 'subject',
      label: 'Subject: an address, or what key returned',
      button: 'Look up',
    }),
    changeButton(context, 'Change a mode', {
      title: 'Change what a limit does',
      command: 'mode',
      args: [],
      options: {},
      fields: [
        { name: 'limit', label: 'Limit', isRequired: true },
        { name: 'mode', label: 'Mode: on, shadow, off, closed or default', isRequired: true },
        { ...DURATION, value: '', isRequired: false },
      ],
    }),
    table(
      context.query['subject'] === undefined
        ? 'Refused in this hour and the one before'
        : 'Limits of the subject',
      ['Subject', 'Limit', 'Policy', 'Left', 'Reset in', 'State', 'Refused', 'Actions'],
      (data.limits ?? []).map((row: any) => ({
        key: `${row.subject} ${row.limit} ${row.policy}`,
        cells: [
          row.of ? row.of.parts.join(' ') : row.subject,
          row.limit,
          row.policy,
          row.state ? `${row.state.remaining}/${row.state.limit}` : '?',
          row.state ? formatSpan(row.state.reset) : '?',
          limitState(row.state),
          row.refusals ?? '-',
          limitButtons(row, context),
        ],
      })),
    ),
  ],
}

export const rulesView: View = {
  title: 'Rules',
  isLive: true,
  show: (data, context) => [
    h(
      'p',
      { class: 'row' },
      ...(['block', 'allow'] as const).map((command) =>
        changeButton(context, command === 'block' ? 'Block' : 'Allow', {
          title: command === 'block' ? 'Refuse a client' : 'Admit a client',
          command,
          args: [],
          options: {},
          fields: [
            { name: 'client', label: 'Address, network or subject:NAME', isRequired: true },
            { ...DURATION, isRequired: false },
          ],
        }),
      ),
    ),
    table(
      'Rules in force',
      ['Who', 'Rule', 'Since', 'Ends', 'By', 'Why', 'Actions'],
      (data.rules ?? []).map((rule: any) => ({
        key: rule.target,
        cells: [
          rule.target,
          rule.effect,
          formatTime(rule.at),
          rule.until === null ? 'never' : formatTime(rule.until),
          rule.by,
          rule.reason,
          liftButton(context, String(rule.target)),
        ],
      })),
    ),
  ],
}

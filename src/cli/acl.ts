/** `turnpike acl`: prints the ACL line of a Redis user. */
import {
  CLUSTER_COMMANDS,
  COMMON_COMMANDS,
  FEATURE_COMMANDS,
} from '../operations/redis-permissions.ts'
import { closestMatch } from '../validate.ts'
import { CommandError, type Command } from '../commands/command.ts'

/** Commands of every connection of this program. */
const CONNECTION = ['info', 'ping', 'time', 'select', ...CLUSTER_COMMANDS]

const ROLES: Record<string, (commands: readonly Command[]) => Role> = {
  viewer: (commands) => ({ keys: '%R~', commands: viewing(commands) }),
  operator: (commands) => ({ keys: '~', commands: [...viewing(commands), ...application()] }),
  app: () => ({ keys: '~', commands: application() }),
}

interface Role {
  readonly keys: string
  readonly commands: readonly string[]
}

const application = (): string[] => [
  ...COMMON_COMMANDS,
  ...Object.values(FEATURE_COMMANDS).flat(),
  ...CLUSTER_COMMANDS,
  'select',
]

const viewing = (commands: readonly Command[]): string[] => [
  ...CONNECTION,
  ...commands.flatMap(({ redis, permissions = [] }) => (redis === 'write' ? [] : permissions)),
]

/** Creates the command. @param commands returns the table whose permissions it prints */
export function createAcl(commands: () => readonly Command[]): Command {
  return {
    name: 'acl',
    usage: 'viewer|operator|app',
    takes: [1, 1],
    summary: 'Print the ACL line of a Redis user who may view, operate, or run the application.',
    notes: [
      'A viewer can run every command that reads, and change nothing. An operator can run all commands.',
    ],
    options: {
      user: { type: 'string', value: 'NAME', help: 'Name of the Redis user. Default: the role.' },
      prefix: { type: 'string', value: 'NAME', help: 'Prefix of the keys. Default: tp.' },
    },
    redis: 'none',
    examples: ['turnpike acl viewer --prefix shop'],
    run({ args: [role = ''], options: { user = role, prefix = 'tp' } }) {
      const create = Object.hasOwn(ROLES, role) ? ROLES[role] : undefined
      if (create === undefined) {
        const near = closestMatch(role, Object.keys(ROLES))
        const hint = near === undefined ? 'Roles: viewer, operator, app.' : `Did you mean ${near}?`
        throw new CommandError('usage', `There is no role ${role}. ${hint}`)
      }
      if (!/^[\w.:-]{1,32}$/.test(String(prefix)) || /[\s\0]/.test(String(user)))
        throw new CommandError('usage', '--prefix and --user must be names without spaces.')
      const { keys, commands: allowed } = create(commands())
      const names = [...new Set(allowed)].toSorted().map((name) => `+${name}`)
      const patterns = `${keys}${String(prefix)}[:~]* &${String(prefix)}[:~]*`
      const line = `ACL SETUSER ${String(user)} on >PASSWORD ${patterns} ${names.join(' ')}`
      return { data: { role, line }, lines: [line] }
    },
  }
}

/** What servers of other versions say, which the tests' own server may not be. */
import { expect, test } from 'vitest'
import { classify, toCallerError } from '../../src/store/diagnose.ts'

const reply = (message: string): Error => Object.assign(new Error(message), { name: 'ReplyError' })
const where = 'script: 104ae65debf45156ded1e8e613705534c8e62c17, on @user_script:1.'

test.each([
  ['Redis 7.0', `ERR The user executing the script can't run this command or subcommand ${where}`],
  [
    'Redis 8.0',
    `ERR ACL failure in script: User a has no permissions to run the 'time' command ${where}`,
  ],
  ['all', "NOPERM User a has no permissions to run the 'get' command"],
])('a permission that is lacking, as %s puts it', (_, message) => {
  expect(toCallerError(reply(message), 'take')).toMatchObject({
    code: 'TP_COMMAND',
    message: expect.stringMatching(/lacks a permission.*docs\/store\.md/),
  })
})

test.each([
  ['Redis', `ERR Unknown Redis command called from script ${where}`],
  ['Valkey', `ERR Unknown command called from script ${where}`],
])('a command that is renamed, as %s puts it', (_, message) => {
  expect(toCallerError(reply(message), 'take')).toMatchObject({
    code: 'TP_COMMAND',
    message: expect.stringMatching(/renamed or disabled.*docs\/store\.md/),
  })
})

test.each([
  ['a full Redis', 'OOM command not allowed when used memory > maxmemory.'],
  ['too many clients', 'ERR max number of clients reached'],
  ['too many clients of a Cluster', 'ERR max number of clients + cluster connections reached'],
])('%s is an outage, also where it ends a transaction', (_, message) => {
  expect(classify(reply(message))).toEqual({ uncertain: false, message })
  const discarded = reply('EXECABORT Transaction discarded because of previous errors.')
  expect(classify(Object.assign(discarded, { previousErrors: [reply(message)] }))).toBeTruthy()
  expect(classify(reply(`EXECABORT Transaction discarded because of: ${message}`))).toBeTruthy()
})

test('a transaction with a wrong command is no outage, and its error says which command', () => {
  const discarded = Object.assign(
    reply('EXECABORT Transaction discarded because of previous errors.'),
    {
      previousErrors: [reply("NOPERM User a has no permissions to run the 'evalsha' command")],
    },
  )
  expect(classify(discarded)).toBeUndefined()
  expect(toCallerError(discarded, 'jobs.flow').message).toMatch(/'evalsha'.*lacks a permission/)
})

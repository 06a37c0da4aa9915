/** What all commands have in common: help, options, exit codes, documents, where Redis is. */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { COMMANDS } from '../../src/cli/commands.ts'
import { EXIT } from '../../src/commands/command.ts'
import { confirmPlan } from '../../src/cli/confirm.ts'
import {
  escapeControls,
  formatDocument,
  formatLine,
  tableLines,
} from '../../src/commands/output.ts'
import { COMMON_COMMANDS, FEATURE_COMMANDS } from '../../src/operations/redis-permissions.ts'
import { ROOT, textOf } from '../docs/blocks.ts'
import { answer, turnpike } from './support.ts'

const names = COMMANDS.map(({ name }) => name)

describe('the command line', () => {
  it.each([[], ['help'], ['--help'], ['-h']])('lists its commands: %j', async (...args) => {
    const { code, stdout, stderr } = await turnpike(args)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    for (const name of names) expect(stdout).toMatch(new RegExp(`^turnpike ${name}\\b.*  \\S`, 'm'))
  })

  it.each(names)('explains %s, by --help and by help', async (name) => {
    const words = name.split(' ')
    const { code, stdout } = await turnpike([...words, '--help'])
    expect(code).toBe(0)
    expect(stdout).toMatch(new RegExp(`^turnpike ${name}`))
    expect(stdout).toContain('--json')
    expect(await turnpike(['help', ...words])).toEqual({ code, stdout, stderr: '' })
  })

  it('prints its version', async () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
    expect(await turnpike(['--version'])).toEqual({ code: 0, stdout: version, stderr: '' })
  })

  it.each([
    [['explian'], 'There is no command explian. Did you mean explain?'],
    [['toString'], 'There is no command toString. turnpike help lists the commands.'],
    [['__proto__'], 'There is no command __proto__. turnpike help lists the commands.'],
    [['explain', '--jsom'], 'turnpike explain has no option --jsom. Did you mean --json?'],
    [['explain', '--toString'], 'turnpike explain has no option --toString.'],
    [
      ['explain', 'a', 'b'],
      'turnpike explain takes 0 to 1 argument, and 2 were given: turnpike explain [code]',
    ],
    [['acl'], 'turnpike acl takes 1 argument, and 0 were given'],
    [['limits', 'sow', 'ann'], 'Did you mean limits show?'],
    [['limits', '203.0.113.7'], 'There is also: limits block, limits reset,'],
    [['rules', 'exprot'], 'Did you mean rules export?'],
    [['cache', 'purge', '--url', 'shop.example/c'], '--url must be a URL or a path'],
    [['acl', 'viewr'], 'There is no role viewr. Did you mean viewer?'],
    [['acl', 'viewer', '--prefix', 'a b'], 'must be names without spaces'],
    [['acl', 'viewer', '--prefix'], "turnpike acl: Option '--prefix <value>' argument missing."],
    [['completion', 'tcsh'], 'There is no completion for tcsh'],
  ])('refuses %j with 2, and prints nothing on the standard output', async (args, message) => {
    const { code, stdout, stderr } = await turnpike(args)
    expect({ code, stdout }).toEqual({ code: EXIT.usage, stdout: '' })
    expect(stderr).toContain(message)
  })

  it('prints one document with a version for --json, also for an error', async () => {
    expect(await answer(['explain', 'TP_OPTION'])).toMatchObject({
      code: 0,
      version: 1,
      command: 'explain',
      data: { code: 'TP_OPTION' },
      warnings: [],
    })
    expect(await answer(['explain', 'TP_OPTIN'])).toMatchObject({
      code: 2,
      version: 1,
      command: 'explain',
      error: { code: 'usage', message: expect.stringContaining('Did you mean TP_OPTION?') },
    })
    expect(await answer(['nothing'])).toMatchObject({ code: 2, error: { code: 'usage' } })
  })

  it('never accepts an option of a command that does not connect for where Redis is', async () => {
    expect((await turnpike(['explain', '--redis', 'redis://h'])).code).toBe(EXIT.usage)
  })
})

describe('what comes from Redis', () => {
  const hostile =
    'a\u001b]0;owned\u0007b\u001b[2Jc\r\nd\u0000e\u009b31mf\u202eg\u2028h\u200bi\ufeffj\u{e0041}k\u007fl\ud800m'

  it('reaches a terminal without a character that it would obey', () => {
    for (const text of [
      escapeControls(hostile),
      formatLine(hostile, true),
      formatLine(tableLines([['head'], [hostile]])[1]!, false),
      formatDocument({ [hostile]: hostile }).replaceAll('\n', ''),
    ])
      expect(text).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u)
    expect(escapeControls(hostile)).toContain('a\\u001b]0;owned\\u0007b')
    expect(escapeControls('Zoë 🚀 日本')).toBe('Zoë 🚀 日本')
  })

  it('is the same again when the document is parsed', () => {
    expect(JSON.parse(formatDocument({ a: [hostile] }))).toEqual({ a: [hostile] })
  })

  it('gets colours only where they are wanted', () => {
    expect(formatLine({ text: 'ok', tone: 'good' }, false)).toBe('ok')
    expect(formatLine({ text: 'ok', tone: 'good' }, true)).toBe('\u001b[32mok\u001b[0m')
  })
})

describe('a change', () => {
  const plan = { lines: ['Delete \u001b[2J everything'], typed: 'shop' }
  const said: string[] = []
  const complain = (text: string): void => void said.push(text)
  const print = (): void => {}
  const asked = (answer: string) => ({ print, complain, ask: async () => answer })

  it('does not happen without a terminal and without --yes', async () => {
    await expect(confirmPlan(plan, {}, { print, complain })).rejects.toMatchObject({
      exit: 'confirmation',
    })
    expect(said).toEqual(['Delete \\u001b[2J everything'])
  })

  it('does not happen with --dry-run, also with --yes', async () => {
    expect(await confirmPlan(plan, { 'dry-run': true, yes: true }, asked('shop'))).toBe(false)
  })

  it('happens with --yes, or with the name typed, and with nothing else', async () => {
    expect(await confirmPlan(plan, { yes: true }, { print, complain })).toBe(true)
    expect(await confirmPlan(plan, {}, asked(' shop '))).toBe(true)
    for (const wrong of ['yes', 'y', '', 'Shop', 'shop2'])
      await expect(confirmPlan(plan, {}, asked(wrong))).rejects.toMatchObject({
        exit: 'confirmation',
      })
    const small = { lines: [] }
    expect(await confirmPlan(small, {}, asked('Y'))).toBe(true)
    await expect(confirmPlan(small, {}, asked('no'))).rejects.toMatchObject({
      exit: 'confirmation',
    })
  })
})

describe('the table of commands', () => {
  it('is in order, and each command has a sentence', () => {
    expect(names).toEqual(names.toSorted())
    for (const { summary, notes = [], options = {} } of COMMANDS)
      for (const text of [summary, ...notes, ...Object.values(options).map(({ help }) => help)])
        expect(text).toMatch(/^[A-Z-].*\.$/)
  })

  it('says which permissions a command needs, and none that could change something', () => {
    for (const { redis, permissions = [] } of COMMANDS)
      if (redis !== 'write')
        expect(permissions.join(' ')).not.toMatch(
          /\b(set|del|unlink|eval|evalsha|flush\w*|keys|monitor|config\|set|expire)\b/,
        )
  })

  it('completes with scripts that the shells accept', async () => {
    const { stdout: script } = await turnpike(['completion', 'bash'])
    const complete = `${script}\nCOMP_WORDS=(turnpike expl); COMP_CWORD=1; _turnpike; echo "\${COMPREPLY[*]}"`
    expect((await promisify(execFile)('bash', ['-c', complete])).stdout).toBe('explain\n')
    for (const shell of ['zsh', 'fish'])
      expect((await turnpike(['completion', shell])).stdout).toContain('explain')
  })
})

describe('turnpike acl', () => {
  it('knows the commands of docs/store.md', () => {
    const documented = [
      ...textOf('docs/store.md').matchAll(/^\| (.+?) \| (\+[a-z]+ \+.+) \|$/gm),
    ].map(([, what, commands]) => [what, commands!.replaceAll('+', '').split(' ')])
    expect([['everything', COMMON_COMMANDS], ...Object.entries(FEATURE_COMMANDS)]).toEqual(
      documented,
    )
  })

  it.each(['viewer', 'operator', 'app'])('prints a line for a %s', async (role) => {
    const { stdout, code } = await turnpike(['acl', role, '--prefix', 'shop', '--user', 'ann'])
    expect(code).toBe(0)
    expect(stdout).toMatch(
      /^ACL SETUSER ann on >PASSWORD (%R)?~shop\[:~\]\* &shop\[:~\]\* (\+[\w|]+ ?)+$/,
    )
    expect(stdout.includes('%R~')).toBe(role === 'viewer')
    expect(stdout).not.toMatch(
      /\+(flushall|flushdb|keys|monitor|config|config\|set|debug|shutdown)(?= |$)/,
    )
  })
})

describe('the program', () => {
  it('is loaded by no entry of the package', () => {
    const seen = new Set<string>()
    const visit = (file: string): void => {
      if (seen.has(file)) return
      seen.add(file)
      const source = readFileSync(join(ROOT, 'src', file), 'utf8')
      for (const [, target] of source.matchAll(/(?:from|import\()\s*'(\.[^']+\.ts)'/g))
        // Loaded at the first request that may see it: test/operations/loading.test.ts.
        if (target !== './dashboard/index.ts') visit(join(file, '..', target!))
    }
    for (const entry of ['index', 'express', 'koa', 'node', 'testing', 'tokens', 'collections'])
      visit(`${entry}.ts`)
    expect(
      [...seen].filter((file) => /^(cli|commands)\/|server-access|redis-permissions/.test(file)),
    ).toEqual([])
  })
})

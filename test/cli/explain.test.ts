/** `npx turnpike explain`: the remedy for an error where its code is read, in a terminal. */
import { describe, expect, it } from 'vitest'
import { TurnpikeError } from '../../src/errors.ts'
import { textOf } from '../docs/blocks.ts'
import { turnpike } from './support.ts'

const codes = [...textOf('docs/errors.md').matchAll(/^## (TP_\w+)$/gm)].map(([, code]) => code!)

describe('turnpike explain', () => {
  it.each(codes)('%s prints its section and no other', async (code) => {
    const { stdout, ...rest } = await turnpike(['explain', code])
    expect(rest).toEqual({ code: 0, stderr: '' })
    expect(stdout.startsWith(`## ${code}\n\n`)).toBe(true)
    expect(stdout.match(/^## /gm)).toHaveLength(1)
    expect(stdout).toContain('**Remedy:**')
  })

  it.each(['tp_option', 'Option', '#tp_option', new TurnpikeError('TP_OPTION', 'wrong').help])(
    'accepts %s for TP_OPTION',
    async (given) => {
      expect((await turnpike(['explain', given])).stdout).toMatch(/^## TP_OPTION\n/)
    },
  )

  it('without a code lists all of them, each with a sentence', async () => {
    const { code, stdout } = await turnpike(['explain'])
    const lines = stdout.split('\n')
    expect(code).toBe(0)
    expect(lines.map((line) => line.split(' ')[0])).toEqual(codes)
    for (const line of lines) expect(line).toMatch(/^TP_\w+ +.+[.]$/)
  })

  it('suggests a code for one that does not exist, and fails', async () => {
    expect(await turnpike(['explain', 'TP_OPTIN'])).toEqual({
      code: 2,
      stdout: '',
      stderr: 'There is no error code TP_OPTIN. Did you mean TP_OPTION?',
    })
    expect(await turnpike(['explain', 'EADDRINUSE'])).toEqual({
      code: 2,
      stdout: '',
      stderr: 'There is no error code EADDRINUSE. turnpike explain lists all codes.',
    })
  })
})

/** `turnpike explain <code>`: prints the section of docs/errors.md about an error code. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { closestMatch } from '../validate.ts'
import { CommandError, type Command } from '../commands/command.ts'

export const explain: Command = {
  name: 'explain',
  usage: '[code]',
  takes: [0, 1],
  summary: 'Explain an error code, for example TP_OPTION. Without one, list them all.',
  redis: 'none',
  examples: ['turnpike explain TP_UNAVAILABLE'],
  run({ args: [given] }) {
    const sections = readSections()
    if (given === undefined) {
      const width = Math.max(...[...sections.keys()].map((code) => code.length))
      const codes = [...sections].map(([code, text]) => ({ code, summary: firstSentence(text) }))
      return {
        data: { codes },
        lines: codes.map(({ code, summary }) => `${code.padEnd(width)}  ${summary}`),
      }
    }
    // An error's `help` is accepted too: it ends with `#tp_option`.
    const wanted = given.slice(given.indexOf('#') + 1).toUpperCase()
    const code = sections.has(wanted) ? wanted : `TP_${wanted}`
    const text = sections.get(code)
    if (text !== undefined) return { data: { code, text }, lines: text.split('\n') }
    const near = closestMatch(wanted, [...sections.keys()])
    const hint = near === undefined ? 'turnpike explain lists all codes.' : `Did you mean ${near}?`
    throw new CommandError('usage', `There is no error code ${wanted}. ${hint}`)
  },
}

/** The sections of the page by code, each with its heading. */
function readSections(): Map<string, string> {
  const page = createRequire(import.meta.url).resolve('turnpike/docs/errors.md')
  const sections = readFileSync(page, 'utf8').split(/^(?=## )/m)
  return new Map(
    sections.flatMap((text): [string, string][] => {
      const [, code] = /^## (TP_\w+)$/m.exec(text) ?? []
      return code === undefined ? [] : [[code, text.trimEnd()]]
    }),
  )
}

/** The first sentence below a heading. */
function firstSentence(section: string): string {
  const [, paragraph = ''] = section.split('\n\n')
  return /^.+?\.(?= |$)/m.exec(paragraph)?.[0] ?? paragraph
}

/** `turnpike explain <code>`: prints the section of docs/errors.md about an error code. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { closestMatch } from '../validate.ts'
import { USAGE_ERROR, type Command } from './command.ts'

export const explain: Command = {
  usage: '[code]',
  summary: 'Explain an error code, for example TP_OPTION. Without one, list them all.',
  run([given], { print, complain }) {
    const sections = readSections()
    if (given === undefined) {
      const width = Math.max(...[...sections.keys()].map((code) => code.length))
      for (const [code, text] of sections) print(`${code.padEnd(width)}  ${firstSentence(text)}`)
      return 0
    }
    // An error's `help` is accepted too: it ends with `#tp_option`.
    const code = given.slice(given.indexOf('#') + 1).toUpperCase()
    const text = sections.get(code) ?? sections.get(`TP_${code}`)
    if (text !== undefined) {
      print(text)
      return 0
    }
    const near = closestMatch(code, [...sections.keys()])
    const hint = near === undefined ? 'turnpike explain lists all codes.' : `Did you mean ${near}?`
    complain(`There is no error code ${code}. ${hint}`)
    return USAGE_ERROR
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

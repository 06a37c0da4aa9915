/** The length of the sentences that users read. */
import { expect, test } from 'vitest'
import { documents, textOf } from './blocks.ts'

const MAX_WORDS = 25

/** Returns the paragraphs and list items of a page, without code, tables, headings and what a run writes. */
function paragraphsOf(page: string): string[] {
  const prose = page
    .replaceAll(/<!-- soak: [\s\S]*?<!-- end of soak -->/g, '')
    .replaceAll(/<!--[\s\S]*?-->/g, '')
    .replaceAll(/^ *(```|~~~)[\s\S]*?^ *\1.*$/gm, '\n')
    .replaceAll(/^ *(\||#|:::).*$/gm, '\n')
    .replaceAll(/^ *([-*]|\d+\.) /gm, '\n')
    .replaceAll(/^> ?/gm, '')
  return prose.split(/\n\s*\n/)
}

/** Returns the sentences of a paragraph. An address is no word, and a span of code is one. */
function sentencesOf(paragraph: string): string[] {
  const text = paragraph
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replaceAll(/`[^`]*`/g, (code) => code.replaceAll(/[.?!\s]/g, '_'))
    .replaceAll(/\s+/g, ' ')
  return text.split(/(?<=[.?!]["')*]*) (?=["'`*[(]*[A-Z`])/)
}

const wordsOf = (sentence: string): number =>
  sentence.split(' ').filter((word) => /\w/.test(word)).length

/** Its only long sentences are lists of names. */
const NAMES = 'docs/reference/index.md'
const pages = [...documents(), 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md'].filter(
  (file) => file !== NAMES,
)

test.each(pages)('no sentence of %s has more than 25 words', (file) => {
  const sentences = paragraphsOf(textOf(file)).flatMap((each) => sentencesOf(each))
  expect(sentences.length).toBeGreaterThan(0)
  expect(sentences.filter((sentence) => wordsOf(sentence) > MAX_WORDS)).toEqual([])
})

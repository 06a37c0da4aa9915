/** The pages of the reference as Markdown. */
import type { Documentation } from './compiler.ts'
import { typeNames, type MemberEntry, type NameEntry } from './model.ts'

/** Version since which everything exists that has no `@since`. */
const FIRST_VERSION = '0.1.0'
/** Types up to this length stand in a line. */
const MAX_INLINE = 90

/** Returns the link to a public name as seen from a page, undefined for other names. */
export type LinkOf = (name: string) => string | undefined

const fence = (code: string): string => `\`\`\`ts no-check\n${code}\n\`\`\``

/** Returns prose with its links, and with `<` outside code escaped. */
export function prose(text: string, linkOf: LinkOf): string {
  return text
    .trim()
    .replace(/\bdocs\/([\w/-]+)\.md\b/g, '[$1](../$1.md)')
    .split(/(`[^`]*`)/)
    .map((part, i) =>
      i % 2 === 1 ? linked(part, linkOf) : withCodes(part.replaceAll('<', '&lt;')),
    )
    .join('')
}

/** Links code that is one public name, or a member of an instance. */
function linked(code: string, linkOf: LinkOf): string {
  const [, name] = /^`([A-Z]\w+|tp\.\w+(?:\(\))?)`$/.exec(code) ?? []
  const link = name && (name.startsWith('TP_') ? errorLink(name) : linkOf(name))
  return link ? `[${code}](${link})` : code
}

const errorLink = (code: string): string => `../errors.md#${code.toLowerCase()}`

const withCodes = (text: string): string =>
  text.replace(/\bTP_[A-Z_]+\b/g, (code) => `[${code}](${errorLink(code)})`)

/** Returns the public names in some code, each with its link. */
function seeAlso(code: string, own: string, linkOf: LinkOf): string {
  const links = [...typeNames(code)]
    .filter((name) => name !== own)
    .flatMap((name) => {
      const link = linkOf(name)
      return link ? [`[${name}](${link})`] : []
    })
  return links.join(', ')
}

const tagged = ({ tags }: Documentation, name: string): string[] =>
  tags.filter((tag) => tag.name === name).map(({ text }) => text.trim())

/** A default is code, unless it is a sentence. */
function defaultText(text: string, linkOf: LinkOf): string {
  const isCode = /^('[^']*'|[\d_.]+|true|false|\[\]|[\w.]+\(\)|REDIS_URL)$/.test(text)
  return isCode ? `\`${text}\`` : prose(text.replaceAll('\n', ' '), linkOf)
}

/** Returns the paragraphs that come after a declaration. */
function documentation(docs: Documentation, linkOf: LinkOf): string[] {
  const [deprecated] = tagged(docs, 'deprecated')
  const examples = tagged(docs, 'example')
  const bullets = [
    ...tagged(docs, 'template').map((text) => parameter(text, linkOf)),
    ...tagged(docs, 'param').map((text) => parameter(text, linkOf)),
    ...tagged(docs, 'returns').map((text) => `- Returns ${prose(text, linkOf)}`),
    ...tagged(docs, 'throws').map((text) => `- Throws ${prose(text, linkOf)}`),
    ...tagged(docs, 'see').map((text) => `- See ${prose(text, linkOf)}`),
  ]
  return [
    ...(deprecated === undefined ? [] : [`**Deprecated.** ${prose(deprecated, linkOf)}`]),
    ...(docs.text === '' ? [] : [prose(docs.text, linkOf)]),
    ...(bullets.length > 0 ? [bullets.join('\n')] : []),
    ...(examples.length > 0 ? [fence(examples.join('\n'))] : []),
  ]
}

function parameter(text: string, linkOf: LinkOf): string {
  const [, name, meaning] = /^(\S+)\s*(?:-\s*)?([\s\S]*)$/.exec(text) ?? []
  return `- \`${name}\`: ${prose(meaning!.replaceAll('\n', ' '), linkOf)}`
}

/** What stands before the members of a name in place of it. */
const PREFIXES: Readonly<Record<string, string>> = { Turnpike: 'tp.', EventMap: '' }

/** Returns the heading of a member. Its anchor is that of no other member of the page. */
export const memberHeading = (
  owner: string,
  { name, isMethod }: Pick<MemberEntry, 'name' | 'isMethod'>,
): string => `### ${PREFIXES[owner] ?? `${owner}.`}${name}${isMethod ? '()' : ''}`

function memberSection(owner: NameEntry, member: MemberEntry, linkOf: LinkOf): string {
  const code = member.declarations.join('\n')
  const see = seeAlso(code, owner.name, linkOf)
  const isInline = code.length <= MAX_INLINE && !code.includes('\n')
  const facts = [
    ...(isInline && !member.isMethod ? [`Type: ${inlineType(code, linkOf, see)}`] : []),
    ...(isInline && member.isMethod ? [see === '' ? `\`${code}\`` : `\`${code}\` (${see})`] : []),
    ...(isOptions(owner) && !member.isMethod ? [optionFact(member, linkOf)] : []),
    ...(!isOptions(owner) && member.isOptional ? ['optional'] : []),
    ...(isOptions(owner) || tagged(member, 'since').length > 0
      ? [`Since: ${sinceOf(member)}`]
      : []),
  ]
  return [
    memberHeading(owner.name, member),
    ...(isInline ? [] : [fence(code)]),
    ...(facts.length > 0 ? [facts.join(' · ')] : []),
    ...documentation(member, linkOf),
    ...(isInline || see === '' ? [] : [`Types: ${see}.`]),
  ].join('\n\n')
}

const sinceOf = (docs: Documentation): string => tagged(docs, 'since')[0] ?? FIRST_VERSION

const isOptions = ({ name }: NameEntry): boolean => name.endsWith('Options')

function optionFact(member: MemberEntry, linkOf: LinkOf): string {
  const [value] = tagged(member, 'default')
  if (value !== undefined) return `Default: ${defaultText(value, linkOf)}`
  return member.isOptional ? 'optional' : 'required'
}

/** A type with its link: the name itself if it is one name. */
function inlineType(code: string, linkOf: LinkOf, see: string): string {
  const [, name] = /^([A-Z]\w*)(<[\w, ]+>)?$/.exec(code) ?? []
  const link = name && linkOf(name)
  if (link) return `[\`${code}\`](${link})`
  return see === '' ? `\`${code}\`` : `\`${code}\` (${see})`
}

const KIND_TEXT = {
  class: 'Class',
  constant: 'Constant',
  function: 'Function',
  interface: 'Interface',
  type: 'Type',
} as const

const origin = (entries: readonly string[]): string =>
  entries.length === 0
    ? 'without an exported name'
    : `of ${entries.map((entry) => `\`${entry}\``).join(', ')}`

/** Returns the section of a name. @param entries the entries that export it */
export function nameSection(
  name: NameEntry,
  call: Documentation | undefined,
  entries: readonly string[],
  linkOf: LinkOf,
): string {
  // The members of an interface follow. Of its declaration only calls are left to show.
  const isShown = name.kind !== 'interface' || !name.declaration.endsWith('{ … }')
  const see = isShown ? seeAlso(name.declaration, name.name, linkOf) : ''
  const bases = name.bases.map((base) => `[${base}](${linkOf(base)})`)
  return [
    `## ${name.name}`,
    `${KIND_TEXT[name.kind]} ${origin(entries)} · Since: ${sinceOf(name)}`,
    ...documentation(name, linkOf),
    ...(isShown ? [fence(name.declaration)] : []),
    ...(call ? documentation(call, linkOf) : []),
    ...(bases.length > 0 ? [`It also has the members of ${bases.join(' and ')}.`] : []),
    ...(see === '' ? [] : [`Types: ${see}.`]),
    ...name.members.map((member) => memberSection(name, member, linkOf)),
  ].join('\n\n')
}

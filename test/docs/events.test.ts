/** Every event is in one table, or it does not compile. Every event is documented. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseSync } from 'oxc-parser'
import { afterAll, describe, expect, test } from 'vitest'
import { EVENTS } from '../../src/events.ts'
import { ROOT, textOf } from './blocks.ts'

/** The interfaces that a file exports, by name. */
function interfacesOf(file: string): Map<string, any[]> {
  const { program } = parseSync(file, readFileSync(join(ROOT, 'src', file), 'utf8'))
  return new Map(
    program.body
      .flatMap((node) => (node.type === 'ExportNamedDeclaration' ? [node.declaration] : []))
      .flatMap((node) =>
        node?.type === 'TSInterfaceDeclaration' ? [[node.id.name, node.body.body]] : [],
      ),
  )
}

/** The members of each event, as src/events.ts and src/event-types.ts declare them. */
function declaredMembers(): Map<string, string[]> {
  const map = interfacesOf('events.ts').get('EventMap')
  const types = interfacesOf('event-types.ts')
  if (map === undefined) throw new Error('src/events.ts has no EventMap')
  return new Map(
    map.map((event) => {
      const { members, typeName } = event.typeAnnotation.typeAnnotation
      return [nameOf(event), (members ?? types.get(typeName.name)).map(nameOf)]
    }),
  )
}

const nameOf = (node: any): string => node.key.name

const declared = declaredMembers()

test('every declared event is in the table', () => {
  expect(Object.keys(EVENTS).toSorted()).toEqual([...declared.keys()].toSorted())
})

describe.each([...declared])('the event %s', (name, members) => {
  const row = textOf('docs/store.md')
    .split('\n')
    .find((line) => line.startsWith(`| \`${name}\` |`))

  test('has a row in docs/store.md that names its members', () => {
    const [, , last] = row?.split(' |') ?? []
    const named = [...(last ?? '').matchAll(/`(\w+)`/g)].map(([, member]) => member)
    expect(new Set(named)).toEqual(new Set(members))
  })
})

describe('a new event', () => {
  const folder = join(ROOT, '.cache', `events-${process.pid}`)
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  /** What the compiler says of a program. */
  function compile(source: string): string {
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'program.ts'), source)
    const config = {
      extends: '../../tsconfig.json',
      files: ['program.ts', '../../src/lua.d.ts'],
      include: [],
    }
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config))
    const tsc = join(ROOT, 'node_modules/.bin/tsc')
    return spawnSync(tsc, ['-p', folder, '--pretty', 'false'], { encoding: 'utf8' }).stdout.trim()
  }

  test('does not compile without its sentence in the table', () => {
    const output = compile(
      `import type { EventMap } from '../../src/events.ts'
       declare module '../../src/events.ts' { interface EventMap { newborn: { name: string } } }
       export type Known = EventMap['newborn']`,
    )
    expect(output).toMatch(
      /src\/events\.ts\(\d+,\d+\): error TS2741: Property 'newborn' is missing/,
    )
    expect(output.split('\n')).toHaveLength(1)
  })

  test('of an extension needs no sentence, and has its type', () => {
    const program = (listener: string): string => `
      import { EventBus } from '../../src/events.ts'
      declare global { namespace TurnpikeExtensions { interface Events { newborn: { weight: number } } } }
      new EventBus().on('newborn', ${listener})`
    expect(compile(program('({ weight }) => weight.toFixed(1)'))).toBe('')
    expect(compile(program('({ height }) => height'))).toContain("Property 'height' does not exist")
  })

  test('that no extension declares is refused', () => {
    const output = compile(
      `import { EventBus } from '../../src/events.ts'; new EventBus().on('newborn', () => {})`,
    )
    expect(output).toContain(`Argument of type '"newborn"' is not assignable`)
  })
})

/**
 * Compares turnpike with its peers:
 *   npm run bench -- [<part of a variant's name> …] [--quick] [--node 20,24]
 *   npm run bench -- --docs --node 24,26,22,20 [--resume] [<part> …]   writes docs/performance.md as well
 * See README.md for what the figures mean and how a variant is added.
 */
import { arch, availableParallelism, loadavg } from 'node:os'
import path from 'node:path'
import { writeDocument } from './document.mjs'
import { Figures } from './figures.mjs'
import { openLab, options, versionOf } from './lab.mjs'
import { openLoop, serial, steady, throughput, withApps } from './measure.mjs'
import { EFFORTS, sectionsOf } from './plan.mjs'
import { printOpenLoop, printSerial, printSteady, printThroughput } from './report.mjs'
import { measureServerSide, printServerSide } from './server-side.mjs'
import { Measured } from './measured.mjs'
import { measurePackage, measureStartUp } from './start-up.mjs'
import { fixed } from './table.mjs'
import { printGoals } from './targets.mjs'
import { allVariants } from './variants.mjs'

const {
  quick,
  docs,
  resume,
  nodes,
  positionals,
  only: names = positionals.join(','),
} = options({
  quick: { type: 'boolean' },
  docs: { type: 'boolean' },
  resume: { type: 'boolean' },
  only: { type: 'string' },
})
const only = names === '' ? undefined : names
const kind = docs ? 'docs' : quick ? 'quick' : 'full'
const effort = EFFORTS[kind]

/** How each kind is measured, and printed. */
const MEASUREMENTS = {
  throughput: [throughput, printThroughput],
  openLoop: [openLoop, printOpenLoop],
  steady: [steady, printSteady],
  serial: [serial, printSerial],
}

/** The result of one start of a group's applications. */
function measure(lab, node, { variants, distant, kinds, warm = effort.warm }) {
  return withApps(lab, node, variants, { distant, warm }, async (apps) => {
    const figures = {}
    for (const kind of kinds) {
      const [figuresOf] = MEASUREMENTS[kind.by]
      figures[kind.name] = await figuresOf(lab, apps, variants, { ...effort, ...kind })
    }
    return figures
  })
}

function print({ variants, kinds }, figures, where) {
  for (const kind of kinds) {
    const [, show] = MEASUREMENTS[kind.by]
    show(variants, figures[kind.name], where, kind)
  }
}

const begin = performance.now()
const tools = nodes.toSorted((a, b) => versionOf(a).localeCompare(versionOf(b))).at(-1)
const lab = await openLab(tools)
try {
  const variants = await allVariants(path.join(lab.folder, 'bench/variants'))
  const pinned = Object.entries(lab.cpus)
    .map(([who, cpus]) => `${who} ${cpus}`)
    .join(', ')
  console.log(
    `Redis ${lab.redisVersion}; ${pinned ? `CPUs: ${pinned}` : 'not pinned'}; load average ${fixed(loadavg()[0], 1)}; load by Node ${versionOf(tools)}`,
  )
  const figures = docs ? new Figures(lab.folder, { resume }) : undefined
  const sections = {}
  async function of(name, measured) {
    const found = figures ? await figures.of(name, measured) : await measured()
    sections[name] = { figures: found }
    return found
  }
  for (const [i, node] of nodes.entries()) {
    const version = versionOf(node)
    for (const section of sectionsOf(variants, { kind, only, isFirst: i === 0 })) {
      const { group } = section
      const { kinds } = await of(`${version}, ${section.name}`, async () => ({
        node: version,
        group,
        variants: section.variants.map(({ id, title }) => ({ id, title })),
        kinds: await measure(lab, node, section),
      }))
      print(section, kinds, `Node ${version}`)
    }
  }
  if (!only) {
    const side = await of('server side', () => measureServerSide(lab, { quick: kind !== 'full' }))
    printServerSide(lab, side)
  }
  if (kind === 'docs' && !only) {
    await of('start-up', () => measureStartUp(lab.folder, nodes))
    await of('package', () => measurePackage(lab.folder))
    figures.keepOnly((name) => name in sections || name.startsWith('scaling: '))
  }
  printGoals(new Measured(sections))
  if (figures) {
    await figures.of('machine', () => ({
      cores: availableParallelism(),
      arch: arch(),
      redis: lab.redisVersion,
      tools: versionOf(tools),
      load: loadavg()[0],
    }))
    writeDocument()
  }
} finally {
  await lab.close()
}
console.log(
  `\n${fixed((performance.now() - begin) / 1000, 0)} s; load average ${fixed(loadavg()[0], 1)}`,
)

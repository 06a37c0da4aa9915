/**
 * Compares turnpike with its peers:
 *   npm run bench -- [--quick] [--node 20,24] [--only <part of a name>,…]
 *   npm run bench -- --docs --node 24,20 [--resume] [--only …]   writes docs/performance.md as well
 * See README.md for what the figures mean and how a variant is added.
 */
import { arch, availableParallelism, loadavg } from 'node:os'
import path from 'node:path'
import { writeDocument } from './document.mjs'
import { Figures } from './figures.mjs'
import { openLab, options, versionOf } from './lab.mjs'
import { serial, throughput, withApps } from './measure.mjs'
import { EFFORTS, sectionsOf } from './plan.mjs'
import { printSerial, printThroughput } from './report.mjs'
import { measureServerSide, printServerSide } from './server-side.mjs'
import { measurePackage, measureStartUp } from './start-up.mjs'
import { fixed } from './table.mjs'
import { allVariants } from './variants.mjs'

const { quick, docs, resume, only, nodes } = options({
  quick: { type: 'boolean' },
  docs: { type: 'boolean' },
  resume: { type: 'boolean' },
  only: { type: 'string' },
})
const kind = docs ? 'docs' : quick ? 'quick' : 'full'
const effort = EFFORTS[kind]

/** The result of one start of a group's applications. */
function measure(lab, node, { variants, distant, kinds }) {
  return withApps(lab, node, variants, { distant, warm: effort.warm }, async (apps) => {
    const figures = {}
    for (const kind of kinds) {
      figures[kind.name] =
        kind.name === 'serial'
          ? await serial(lab, apps, variants, effort.serial)
          : await throughput(lab, apps, variants, { ...effort, ...kind })
    }
    return figures
  })
}

function print({ variants, kinds }, figures, where) {
  for (const kind of kinds) {
    const show = kind.name === 'serial' ? printSerial : printThroughput
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
  const of = (name, measured) => (figures ? figures.of(name, measured) : measured())
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
  if (figures) {
    if (!only) {
      await figures.of('start-up', () => measureStartUp(lab.folder, nodes))
      await figures.of('package', () => measurePackage(lab.folder))
    }
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

/**
 * Where a variant's time goes: `node bench/profile.mjs [20-turnpike] [--node 24] [--top 25] [--save file]`.
 * Self time by function over some seconds under load: as a share of the samples (a sample's own
 * length would count the time that other processes had the CPU), and of the CPU time per request.
 */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { openLab, options, versionOf } from './lab.mjs'
import { PATH } from './payload.mjs'
import { fixed, print } from './table.mjs'
import { allVariants } from './variants.mjs'

const {
  nodes,
  positionals,
  top = '25',
  save,
} = options({
  top: { type: 'string' },
  save: { type: 'string' },
})
const [wanted = '20-turnpike'] = positionals
const [node] = nodes
const lab = await openLab(node)

try {
  const variants = await allVariants(path.join(lab.folder, 'bench/variants'))
  const variant = variants.find(({ id }) => id === wanted.replace(/\.mjs$/, ''))
  if (!variant)
    throw new Error(`No variant ${wanted}. There are:\n${variants.map(({ id }) => id).join('\n')}`)
  const { method } = variant
  const app = await lab.app(node, variant)
  const load = (ms) => lab.load({ port: app.port, path: PATH, method, connections: 64, ms })
  await load(3000)
  const before = await app.ask('mark')
  await app.ask('profile')
  const { requests } = await load(6000)
  const profile = await app.ask('profile')
  const after = await app.ask('mark')
  if (save) writeFileSync(save, JSON.stringify(profile))
  const cpu = (after.cpu - before.cpu) / requests
  console.log(
    `${wanted}, Node ${versionOf(node)}: ${requests} requests, ${fixed(cpu, 1)} us of CPU each while profiled`,
  )
  const functions = selfTimes(profile)
  const total = functions.reduce((sum, { samples }) => sum + samples, 0)
  const rowOf = ({ place, name, samples }) => [
    `${name}  ${place}`,
    `${fixed((samples / total) * 100, 1)} %`,
    fixed((samples / total) * cpu, 2),
  ]
  print('### By owner', ['owner', 'self', 'us'], owners(functions).map(rowOf))
  print('### By function', ['function', 'self', 'us'], functions.slice(0, Number(top)).map(rowOf))
  const ours = functions.filter(({ owner }) => owner === 'turnpike').slice(0, Number(top))
  print('### By function, turnpike only', ['function', 'self', 'us'], ours.map(rowOf))
} finally {
  await lab.close()
}

/** Samples by function, without idling and the profiler itself; most first. */
function selfTimes({ nodes, samples }) {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]))
  const found = new Map()
  for (const id of samples) {
    const { functionName, url, lineNumber } = frames.get(id)
    if (functionName === '(idle)' || url === 'node:inspector') continue
    const place =
      url && `${url.replace(/^.*\/(?:node_modules\/|(?=(?:dist|bench)\/))/, '')}:${lineNumber + 1}`
    const which = `${functionName} ${place}`
    const known = found.get(which)
    const owner = ownerOf(url, functionName)
    if (known) known.samples++
    else found.set(which, { name: functionName || '(anonymous)', place, owner, samples: 1 })
  }
  return [...found.values()].sort((a, b) => b.samples - a.samples)
}

function ownerOf(url, name) {
  if (url.startsWith('node:')) return 'node'
  if (url === '') return name === '(garbage collector)' ? 'garbage collector' : 'native'
  const [, dependency] = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url) ?? []
  return dependency ?? (/\/dist\/(?:shared\/)?[^/]+$/.test(url) ? 'turnpike' : 'benchmark')
}

function owners(functions) {
  const sums = new Map()
  for (const { owner, samples } of functions) sums.set(owner, (sums.get(owner) ?? 0) + samples)
  return [...sums]
    .map(([name, samples]) => ({ name, place: '', samples }))
    .sort((a, b) => b.samples - a.samples)
}

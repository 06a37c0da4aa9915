/**
 * Where a variant's time goes: `node bench/profile.mjs [20-turnpike] [--node 24] [--top 25] [--save file]`.
 * Self time by function, as µs per request, over some seconds under load.
 */
import { writeFileSync } from 'node:fs'
import { openLab, options, versionOf } from './lab.mjs'
import { PATH } from './payload.mjs'
import { fixed, print } from './table.mjs'

const {
  nodes,
  positionals,
  top = '25',
  save,
} = options({
  top: { type: 'string' },
  save: { type: 'string' },
})
const [variant = '20-turnpike'] = positionals
const [node] = nodes
const lab = await openLab(node)

try {
  const app = await lab.app(node, `${variant.replace(/\.mjs$/, '')}.mjs`)
  const load = (ms) => lab.load({ port: app.port, path: PATH, connections: 64, ms })
  await load(3000)
  const before = await app.ask('mark')
  await app.ask('profile')
  const { requests } = await load(6000)
  const profile = await app.ask('profile')
  const after = await app.ask('mark')
  if (save) writeFileSync(save, JSON.stringify(profile))
  const us = (micros) => fixed(micros / requests, 2)
  console.log(
    `${variant}, Node ${versionOf(node)}: ${requests} requests, ${us(after.cpu - before.cpu)} us of CPU each while profiled`,
  )
  const functions = selfTimes(profile)
  const total = functions.reduce((sum, { time }) => sum + time, 0)
  const share = (time) => `${fixed((time / total) * 100, 1)} %`
  const rowOf = ({ place, name, time }) => [`${name}  ${place}`, share(time), us(time)]
  print('### By owner', ['owner', 'self', 'us per request'], owners(functions).map(rowOf))
  print(
    '### By function',
    ['function', 'self', 'us per request'],
    functions.slice(0, Number(top)).map(rowOf),
  )
  const ours = functions.filter(({ owner }) => owner === 'turnpike').slice(0, Number(top))
  print('### By function, turnpike only', ['function', 'self', 'us per request'], ours.map(rowOf))
} finally {
  await lab.close()
}

/** Self time by function, in µs, without idling; most first. */
function selfTimes({ nodes, samples, timeDeltas }) {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]))
  const found = new Map()
  samples.forEach((id, i) => {
    const { functionName, url, lineNumber } = frames.get(id)
    if (functionName === '(idle)') return
    const place = url
      ? `${url.replace(/^.*\/(node_modules|dist)\//, '$1/').replace('node_modules/', '')}:${lineNumber + 1}`
      : ''
    const id2 = `${functionName} ${place}`
    const known = found.get(id2)
    if (known) known.time += timeDeltas[i]
    else
      found.set(id2, {
        name: functionName || '(anonymous)',
        place,
        owner: ownerOf(url, functionName),
        time: timeDeltas[i],
      })
  })
  return [...found.values()].sort((a, b) => b.time - a.time)
}

function ownerOf(url, name) {
  if (url.startsWith('node:')) return 'node'
  if (url === '') return name === '(garbage collector)' ? 'garbage collector' : 'native'
  if (/\/dist\/[^/]+$/.test(url) && !url.includes('node_modules')) return 'turnpike'
  return /.*node_modules\/((@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? 'benchmark'
}

function owners(functions) {
  const sums = new Map()
  for (const { owner, time } of functions) sums.set(owner, (sums.get(owner) ?? 0) + time)
  return [...sums]
    .map(([name, time]) => ({ name, place: '', time }))
    .sort((a, b) => b.time - a.time)
}

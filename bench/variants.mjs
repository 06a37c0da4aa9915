/** Finds the variants: files of `variants/` in the order of their names. */
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { isReference, peersOf } from './pairs.mjs'

/**
 * All of them: `{ id, file, name, title, group, method }`. A file is one variant, or exports several
 * by name as `variants`.
 */
export async function allVariants(folder) {
  const files = readdirSync(folder).sort()
  const found = await Promise.all(
    files.map(async (file) => {
      const module = await import(pathToFileURL(path.join(folder, file)))
      const id = path.basename(file, '.mjs')
      if (!module.variants) return [of(module, { id, file, name: '' })]
      return Object.entries(module.variants).map(([name, variant]) =>
        of(variant, { id: `${id}/${name}`, file, name }),
      )
    }),
  )
  return found.flat()
}

const of = ({ title, group, method = 'GET' }, where) => ({ ...where, title, group, method })

/** Those whose id contains one of `parts`, with their peers and the references of their groups. */
export function choose(variants, parts) {
  const wanted = variants.filter(({ id }) => parts.some((part) => id.includes(part)))
  const groups = new Set(wanted.map(({ group }) => group))
  const peers = new Set(wanted.flatMap(({ id }) => peersOf(id)))
  return variants.filter(
    (variant) =>
      wanted.includes(variant) ||
      peers.has(variant.id) ||
      (groups.has(variant.group) && isReference(variant.id)),
  )
}

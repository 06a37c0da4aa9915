/** Finds the variants: files of `variants/` in the order of their names. */
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

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

/** Those whose id contains one of `parts`, and the first of each of their groups. */
export function choose(variants, parts) {
  const isWanted = ({ id }) => parts.some((part) => id.includes(part))
  const groups = new Set(variants.filter(isWanted).map(({ group }) => group))
  return variants.filter(
    (variant, i) =>
      isWanted(variant) ||
      (groups.has(variant.group) &&
        variants.findIndex(({ group }) => group === variant.group) === i),
  )
}

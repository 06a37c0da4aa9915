/** Bundles modules that are imported with `?script`, in tsdown and vitest. */
export declare const browserScript: {
  name: string
  enforce: 'pre'
  resolveId(id: string, importer: string | undefined): string | undefined
  load(id: string): Promise<{ code: string; moduleType: 'js' } | undefined>
}

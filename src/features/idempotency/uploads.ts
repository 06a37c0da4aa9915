/** Files that a parser of multipart bodies has left on a request: multer, formidable, express-fileupload. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'

/** A file as one of the parsers describes it. */
interface ParsedFile {
  fieldname?: unknown
  originalname?: unknown
  originalFilename?: unknown
  name?: unknown
  size?: unknown
  /** Content in memory. */
  buffer?: unknown
  data?: unknown
  /** Content in a file. */
  path?: unknown
  filepath?: unknown
  tempFilePath?: unknown
  /** Digest of the content that a storage engine has computed. */
  etag?: unknown
}

/** What parsers leave on Express's `req` and Koa's `ctx`. */
interface Parsed {
  file?: unknown
  files?: unknown
  request?: { file?: unknown; files?: unknown }
}

/** What is compared of a file. */
export interface ComparedFile {
  field: string
  name: string
  size: number
  content: string
}

/** Returns the files of a request, with their fields; empty if a parser has left none. */
function filesOf(native: unknown): [field: string, file: ParsedFile][] {
  const { file, files, request } = native as Parsed
  const found: [string, ParsedFile][] = []
  const add = (field: string, value: unknown): void => {
    if (typeof value !== 'object' || value === null) return
    for (const each of Array.isArray(value) ? (value as unknown[]) : [value])
      if (isFile(each)) found.push([stringOf(each.fieldname) ?? field, each])
  }
  for (const left of [file, files, request?.file, request?.files]) {
    if (typeof left !== 'object' || left === null) continue
    if (Array.isArray(left) || isFile(left)) add('', left)
    else for (const [field, value] of Object.entries(left)) add(field, value)
  }
  // A parser may leave one file under two names.
  const unique = new Map(found.map((each) => [each[1], each]))
  return [...unique.values()]
}

const stringOf = (value: unknown): string | undefined =>
  typeof value === 'string' ? value : undefined

const isFile = (value: unknown): value is ParsedFile =>
  typeof value === 'object' &&
  value !== null &&
  typeof (value as ParsedFile).size === 'number' &&
  nameOf(value) !== undefined

const nameOf = ({ originalname, originalFilename, name }: ParsedFile): string | undefined =>
  stringOf(originalname) ?? stringOf(originalFilename) ?? stringOf(name)

/**
 * Returns what is compared of a request's files; undefined if there are none.
 * @param limit bytes of each file that are read at most
 */
export function comparedFiles(native: unknown, limit: number): Promise<ComparedFile[]> | undefined {
  const files = filesOf(native)
  if (files.length === 0) return undefined
  return Promise.all(
    files.map(async ([field, file]) => ({
      field,
      name: nameOf(file) ?? '',
      size: Number(file.size),
      content: await contentOf(file, limit),
    })),
  )
}

/** Returns a digest of a file's content; empty if the content cannot be read any more. */
async function contentOf(file: ParsedFile, limit: number): Promise<string> {
  const bytes = [file.buffer, file.data].find(
    (each) => each instanceof Uint8Array && each.length > 0,
  ) as Uint8Array | undefined
  const hash = createHash('sha256')
  if (bytes !== undefined) return hash.update(bytes.subarray(0, limit)).digest('base64url')
  const path = [file.path, file.filepath, file.tempFilePath].find(
    (each) => typeof each === 'string' && each !== '',
  ) as string | undefined
  if (path === undefined) return typeof file.etag === 'string' ? file.etag : ''
  try {
    const stream = createReadStream(path, { end: Math.max(0, limit - 1) })
    for await (const chunk of stream) hash.update(chunk as Buffer)
    return hash.digest('base64url')
  } catch {
    return ''
  }
}

declare module 'express4' {
  export { default } from 'express'
}
declare module 'connect-redis9' {
  export * from 'connect-redis'
}
declare module 'koa2' {
  export { default } from 'koa'
}
declare module 'multer' {
  import type { RequestHandler } from 'express'
  interface Multer {
    any(): RequestHandler
    single(field: string): RequestHandler
    fields(fields: readonly { name: string }[]): RequestHandler
  }
  const multer: ((options?: { dest?: string; storage?: object }) => Multer) & {
    memoryStorage(): object
  }
  export default multer
}

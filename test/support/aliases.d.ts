declare module 'express4' {
  export { default } from 'express'
}
declare module 'connect-redis9' {
  export * from 'connect-redis'
}
declare module 'koa2' {
  export { default } from 'koa'
}

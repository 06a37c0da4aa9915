/** What programs that operate an application need of idempotency keys. */
export { releaseKey } from './operations.ts'

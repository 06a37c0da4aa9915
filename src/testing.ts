/** For tests: a store with a clock that is turned by hand, real Redis servers, and the contract that every engine keeps. */
export { storeContract, type ContractOptions, type ContractSubject } from './testing/contract.ts'
export { startRedis, type RedisServer, type RedisServerOptions } from './testing/redis-server.ts'
export { testStore, type TestStore, type TestStoreOptions } from './testing/test-store.ts'

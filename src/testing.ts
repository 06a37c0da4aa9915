/** For tests: a store whose clock tests advance, real Redis servers, and the contract of every engine. */
export { storeContract, type ContractOptions, type ContractSubject } from './testing/contract.ts'
export { startRedis, type RedisServer, type RedisServerOptions } from './testing/redis-server.ts'
export { testStore, type TestStore, type TestStoreOptions } from './testing/test-store.ts'

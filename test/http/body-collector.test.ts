import { expect, it } from 'vitest'
import { BodyCollector } from '../../src/http/body-tap.ts'

it('collects text and bytes', () => {
  const capture = new BodyCollector(10)
  capture.add('YQ==', 'base64')
  capture.add(Buffer.from('b'))
  capture.add(new Uint8Array([99]))
  capture.add(undefined)
  capture.add('', () => {})
  expect(String(capture.body())).toBe('abc')
  expect(String(capture.body('3'))).toBe('abc')
  expect(capture.body('4')).toBeUndefined()
})

it('is empty without a chunk', () => {
  expect(new BodyCollector(0).body()).toHaveLength(0)
})

it('holds as much as its limit, and then nothing', () => {
  const capture = new BodyCollector(3)
  capture.add('abc')
  expect(String(capture.body())).toBe('abc')
  capture.add('d')
  expect(capture.body()).toBeUndefined()
  capture.add('e')
  expect(capture.body()).toBeUndefined()
})

import { describe, expect, it } from 'vitest'
import fc from 'fast-check'
import ipaddr from 'ipaddr.js'
import { addressSubject } from '../../src/http/client-address.ts'

describe('subjectOf', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['0.0.0.0', '0.0.0.0'],
    ['255.255.255.255', '255.255.255.255'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::FFFF:192.0.2.1', '192.0.2.1'],
    ['::ffff:c000:201', '192.0.2.1'],
    ['0:0:0:0:0:ffff:c000:0201', '192.0.2.1'],
    ['0:0:0:0:0:ffff:192.0.2.1', '192.0.2.1'],
    ['0000:0000:0000:0000:0000:FFFF:C000:0201', '192.0.2.1'],
    ['::ffff:192.0.2.1%eth0', '192.0.2.1'],
    ['2001:db8:0:1ff:1:2:3:4', '2001:db8:0:100::/56'],
    ['2001:DB8::1', '2001:db8::/56'],
    ['fe80::1%eth0', 'fe80::/56'],
    ['192.0.2.1:80', '192.0.2.1'],
    ['[::1]', '::/56'],
    ['[2001:db8::1]:443', '2001:db8::/56'],
    ['[fe80::1%eth0]:443', 'fe80::/56'],
    ['[::ffff:192.0.2.1]:80', '192.0.2.1'],
    ['::1', '::/56'],
  ])('%s is %s', (address, expected) => {
    expect(addressSubject(address)).toBe(expected)
  })

  it.each([
    undefined,
    '',
    'unknown',
    '256.0.0.1',
    '1.2.3',
    '01.2.3.4',
    '0x7f.1',
    '2130706433',
    '192.0.2.1:',
    '192.0.2.1:123456',
    '192.0.2.1:80:80',
    '[192.0.2.1:80',
    '[::1',
    '[]:80',
    '[[::1]]',
    '%eth0',
    `::1%${'x'.repeat(200)}`,
    '::1::',
    ':',
    '192.0.2.1\n',
    ' 192.0.2.1',
    'a:b',
  ])('%j is invalid', (address) => {
    expect(addressSubject(address)).toBe('invalid')
  })

  it.each([
    [1, 'ffff::1', '8000::/1'],
    [32, '2001:db8:ffff::', '2001:db8::/32'],
    [60, '2001:db8:0:1ff::1', '2001:db8:0:1f0::/60'],
    [64, '2001:db8:0:1ff::1', '2001:db8:0:1ff::/64'],
    [128, '2001:db8::1', '2001:db8::1/128'],
  ])('takes a prefix of %i bits', (length, address, expected) => {
    expect(addressSubject(address, length)).toBe(expected)
  })

  it('gives one subject to all of a network, however it is written', () => {
    fc.assert(
      fc.property(fc.ipV6(), fc.integer({ min: 1, max: 128 }), (address, length) => {
        const subject = addressSubject(address, length)
        if (!subject.includes('/')) return
        expect(addressSubject(subject.split('/')[0], length)).toBe(subject)
      }),
    )
    fc.assert(fc.property(fc.ipV4(), (address) => addressSubject(`::ffff:${address}`) === address))
  })

  it('counts every address as ipaddr.js writes its network', () => {
    const group = fc.oneof(
      fc.constant('0'),
      fc.nat({ max: 0xff_ff }).map((value) => value.toString(16)),
      fc.constantFrom('0000', 'FFFF', 'ffff', '00a0'),
    )
    const full = fc.array(group, { minLength: 8, maxLength: 8 }).map((groups) => groups.join(':'))
    const short = fc
      .tuple(fc.array(group, { maxLength: 4 }), fc.array(group, { maxLength: 3 }))
      .map(([first, last]) => `${first.join(':')}::${last.join(':')}`)
    const address = fc.oneof(full, short, fc.ipV6())
    fc.assert(
      fc.property(address, fc.integer({ min: 1, max: 128 }), (text, length) => {
        expect(addressSubject(text, length), text).toBe(referenceSubject(text, length))
      }),
      { numRuns: 3000 },
    )
  })
})

/** The definition, by ipaddr.js alone. */
function referenceSubject(text: string, length: number): string {
  const parsed = ipaddr.IPv6.parse(text)
  if (parsed.isIPv4MappedAddress()) return parsed.toIPv4Address().toString()
  const bytes = parsed
    .toByteArray()
    .map((byte, i) => byte & (0xff00 >> Math.min(Math.max(length - i * 8, 0), 8)) & 0xff)
  return `${ipaddr.fromByteArray(bytes).toString()}/${length}`
}

/** The dashboard in headless Chromium: every page, hostile data, the keyboard, and what operators change. */
import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import axe from 'axe-core'
import { chromium, type Browser, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { findChromium } from '../../scripts/ensure-chromium.mjs'
import { CONTEXT } from '../../src/extension.ts'
import { turnpike } from '../../src/node.ts'
import { appendAudit } from '../../src/operations/audit.ts'
import { minuteKey } from '../../src/operations/beat-keys.ts'
import { startRedis, type RedisServer } from '../../src/testing.ts'
import { populate, SECRET, type Populated } from '../cli/application.ts'
import { OPERATOR, portOf, start, VIEWER } from '../dashboard/support.ts'
import { apps, type App, type AppKind } from '../support/apps.ts'

const EVIL = '<img src=x onerror="window.hacked=1">\u202e\u001b[2J'
const PAGES = {
  overview: 'Counted in the last whole minute',
  limits: 'Refused in this hour',
  rules: 'Rules in force',
  cache: 'Requests in the last five minutes',
  sessions: 'User',
  locks: 'List all',
  idempotency: 'List requests',
  processes: 'Processes',
  redis: 'Checks',
  audit: 'Changes made by hand',
}
/** With SCREENSHOTS=1 the pictures of the documents are taken again. */
const PICTURES = process.env['SCREENSHOTS'] === '1' ? 'docs/dashboard' : undefined

let redis: RedisServer
let shop: Populated
let browser: Browser
beforeAll(async () => {
  redis = await startRedis()
  shop = await populate({ redis: redis.url })
  await shop.report()
  // Half an hour with a cache that has a bad time.
  await using reader = turnpike({ redis: redis.url, prefix: 'shop', operations: false })
  const { keys } = reader[CONTEXT]('operations')
  for (let i = 1; i <= 30; i++) {
    const [hits, refused] = [i > 12 && i < 18 ? 300 : 830 + ((i * 37) % 90), (i * 91) % 140]
    const counts = ['cache:products:hit', hits, 'cache:products:miss', 1000 - hits]
    const key = minuteKey(keys, Date.now() - i * 60_000)
    await redis.send('HSET', key, ...counts.map(String), 'limit:web:refused', String(refused))
    await redis.send('PEXPIRE', key, '7200000')
  }
  const path = spawnSync('which', [findChromium() ?? 'chromium'], {
    encoding: 'utf8',
  }).stdout.trim()
  browser = await chromium.launch({
    executablePath: path,
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
  })
}, 60_000)
afterAll(async () => {
  await browser?.close()
  await shop?.close()
  await redis?.stop()
})

interface Opened {
  page: Page
  app: App
  origin: string
  /** What the browser complained about: errors of scripts, and violations of the policy. */
  complaints: string[]
}

async function open(kind: AppKind, headers: Record<string, string>, hash = ''): Promise<Opened> {
  const app = start(kind, { redis: redis.url })
  app.tp.session({ secret: SECRET })
  const context = await browser.newContext({
    extraHTTPHeaders: headers,
    viewport: { width: 1200, height: 800 },
    reducedMotion: 'reduce',
  })
  onTestFinished(async () => {
    await context.close()
    await app.tp.close()
  })
  const page = await context.newPage()
  const complaints: string[] = []
  page.on('pageerror', (error) => complaints.push(String(error)))
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text())
  })
  const origin = `http://127.0.0.1:${await portOf(app)}/ops/`
  await page.goto(origin + hash)
  return { page, app, origin, complaints }
}

async function visit(page: Page, name: string, text: string): Promise<void> {
  await page.evaluate((to) => void ((globalThis as any).location.hash = to), `#/${name}`)
  await page.locator('main').getByText(text).first().waitFor()
}

/** Rules of WCAG 2.2 AA that a page breaks. */
async function problemsOf(page: Page): Promise<string[]> {
  await page.evaluate(axe.source)
  return await page.evaluate(async () => {
    const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']
    const { violations } = await (globalThis as any).axe.run({ runOnly: tags })
    return violations.map(({ id, nodes }: any) => `${id}: ${nodes[0].html.slice(0, 200)}`)
  })
}

describe.each(apps.filter(({ name }) => name !== 'Koa 2'))('$name', (kind) => {
  it('renders every page, from what the application has done', async () => {
    const { page, complaints } = await open(kind, OPERATOR)
    for (const [name, text] of Object.entries(PAGES)) await visit(page, name, text)
    await visit(page, 'sessions?user=ada', 'laptop')
    await visit(page, 'locks?name=nightly', 'lock')
    await visit(page, 'limits', '127.0.0.1')
    await visit(page, 'processes', 'live')
    expect(complaints).toEqual([])
  })
})

describe('Express 5', () => {
  const kind = apps[0]!

  it('strings of clients and of Redis are shown as they are, and do nothing', async () => {
    const { app, complaints, page } = await open(kind, OPERATOR)
    const { keys, store } = app.tp[CONTEXT]('operations')
    await appendAudit(store, keys, { action: EVIL, by: EVIL, reason: EVIL, subject: EVIL })
    const lock = await app.tp.lock.acquire('<script>window.hacked=1</script>', {
      lease: '60s',
    })
    onTestFinished(async () => void (await lock.release()))
    await visit(page, 'audit', '<img src=x onerror=')
    expect(await page.locator('main').textContent()).toContain('\\u{202e}\\u{1b}[2J')
    await visit(page, `limits?subject=${encodeURIComponent(EVIL)}`, 'Limits of the subject')
    await page.evaluate(() => void ((globalThis as any).location.hash = '#/locks'))
    await page.getByRole('button', { name: 'List all' }).click()
    await page.getByText('keys of the database were seen').waitFor()
    await visit(page, 'sessions?user=ada', 'evil')
    expect(await page.locator('main').textContent()).toContain('evil\\u{9b}2J')
    expect(await page.evaluate(() => (globalThis as any).hacked)).toBeUndefined()
    expect(await page.locator('img, script:not([src])').count()).toBe(0)
    expect(complaints).toEqual([])
  })

  it.each(['light', 'dark'] as const)(
    'no page breaks a rule of WCAG 2.2 AA, in %s',
    async (scheme) => {
      const { page } = await open(kind, OPERATOR)
      await page.emulateMedia({ colorScheme: scheme })
      if (PICTURES) mkdirSync(PICTURES, { recursive: true })
      for (const [name, text] of Object.entries(PAGES)) {
        await visit(page, name, text)
        expect([name, await problemsOf(page)]).toEqual([name, []])
        if (PICTURES && scheme === 'light')
          await page.screenshot({ path: `${PICTURES}/${name}.png` })
      }
    },
  )

  it('the focus survives updates', async () => {
    const { app, page } = await open(kind, OPERATOR, '#/limits')
    const button = page
      .getByRole('row', { name: '127.0.0.1' })
      .getByRole('button', { name: 'Reset' })
    await button.focus()
    const before = await page.locator('main').textContent()
    await app.tp.limiter('web', { limit: 2, window: '1h' }).consume('127.0.0.1')
    await shop.peek()
    await fetch(`${shop.url}/limited`)
    await expect
      .poll(() => page.locator('main').textContent(), { timeout: 15_000 })
      .not.toBe(before)
    expect(
      await button.evaluate((element) => element === (globalThis as any).document.activeElement),
    ).toBe(true)
  })

  it('an operator sees what a change does, confirms it with the keyboard, and finds it in the audit', async () => {
    const { complaints, page } = await open(kind, OPERATOR, '#/locks?name=nightly')
    await page.getByRole('button', { name: 'Break: nightly' }).focus()
    await page.keyboard.press('Enter')
    const dialog = page.getByRole('dialog')
    await dialog.getByLabel('Reason').fill("worker's stuck")
    expect(await problemsOf(page)).toEqual([])
    await page.keyboard.press('Enter')
    await dialog.getByText('Release the lock nightly.').waitFor()
    expect(await dialog.locator('input[readonly]').inputValue()).toBe(
      `npx turnpike locks break nightly --app ./tp.mjs --reason 'worker'\\''s stuck'`,
    )
    expect(await problemsOf(page)).toEqual([])
    if (PICTURES) await page.screenshot({ path: `${PICTURES}/change.png` })
    await page.keyboard.press('Enter')
    await page.getByText('Released.').waitFor()
    await visit(page, 'audit', 'locks break')
    const text = await page.locator('main').textContent()
    expect(text).toContain('grace@example.com')
    expect(text).toContain("worker's stuck")
    expect(complaints).toEqual([])
  })

  it('graphs show the last half hour with their marks, and say the same in words', async () => {
    const { complaints, page } = await open(kind, OPERATOR)
    const graph = page.getByRole('img', { name: /^Answered from caches, last half hour: now / })
    await graph.waitFor()
    expect(await graph.getAttribute('aria-label')).toMatch(/marks at 50 % and 80 %$/)
    expect(await graph.locator('.mark').count()).toBe(2)
    await page.getByRole('img', { name: /^Redis p99, .*marks at 50\.0 ms$/ }).waitFor()
    await page.getByRole('img', { name: /^Refused by limits, last half hour: now \d/ }).waitFor()
    expect(complaints).toEqual([])
  })

  it('an operator sets limits of one subject, and forgets them', async () => {
    const { complaints, page } = await open(kind, OPERATOR, '#/limits?subject=ada')
    const button = (label: string) =>
      page
        .getByRole('row', { name: /^ada api / })
        .getByRole('button', { name: `${label}: ada`, exact: true })
    const dialog = page.getByRole('dialog')
    await button('Set').click()
    expect(await dialog.getByLabel('POLICY=LIMIT').inputValue()).toBe('api=5')
    await dialog.getByLabel('POLICY=LIMIT').fill('api=9')
    await dialog.getByLabel('Reason').fill('a launch')
    await page.keyboard.press('Enter')
    await dialog.getByText('Set the limits of ada to api=9. It has none now.').waitFor()
    expect(await dialog.locator('input[readonly]').inputValue()).toBe(
      "npx turnpike limits set ada api=9 --app ./tp.mjs --reason 'a launch'",
    )
    await page.keyboard.press('Enter')
    await page.getByText('Set: api=9.').waitFor()
    await button('Unset').click()
    await dialog.getByLabel('Reason').fill('it is over')
    await page.keyboard.press('Enter')
    await dialog.getByText('Forget the limits of ada: api=9.').waitFor()
    await page.keyboard.press('Enter')
    await page.getByText('Deleted.').waitFor()
    expect(complaints).toEqual([])
  })

  it('an operator releases the permit of a holder that hangs', async () => {
    const { app, page } = await open(kind, OPERATOR)
    const semaphore = app.tp.semaphore('hangs', { limit: 1 })
    const permit = await semaphore.acquire()
    onTestFinished(async () => void (await permit.release()))
    await visit(page, 'locks?name=hangs', 'semaphore')
    await page.getByRole('button', { name: 'Break: hangs' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByLabel('Reason').fill('hangs')
    await page.keyboard.press('Enter')
    await dialog.getByText(/^Release the permit .* of hangs\.$/).waitFor()
    await page.keyboard.press('Enter')
    await page.getByText('Released.').waitFor()
    expect(await semaphore.count()).toBe(0)
  })

  it('a changed policy is set back to its options', async () => {
    const { app, page } = await open(kind, OPERATOR)
    await app.tp.control.policy('api', { limit: 30 }, { by: 'ann', reason: 'overload' })
    await visit(page, 'rules', 'policy:api')
    await page.getByRole('button', { name: 'Default: api default' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByLabel('Reason').fill('over')
    await page.keyboard.press('Enter')
    await dialog.getByText(/^Set the policy .* to default/).waitFor()
    await page.keyboard.press('Enter')
    await page.getByText(/Stored: .*default/).waitFor()
  })

  it('a viewer sees no button for changes, and only the networks of addresses', async () => {
    const { page } = await open(kind, VIEWER, '#/limits')
    await page.getByText('127.0.*.*').waitFor()
    expect(await page.locator('main').textContent()).not.toContain('127.0.0.1')
    expect(await page.getByRole('button', { name: /Reset|Block/ }).count()).toBe(0)
    await visit(page, 'rules', 'Rules in force')
    expect(await page.getByRole('button', { name: /Block|Allow/ }).count()).toBe(0)
  })
})

/** docs/cli.md comes from the table of commands. `npm run docs:cli` writes it. */
import { expect, it } from 'vitest'
import { COMMANDS } from '../../src/cli/commands.ts'
import { commandReference } from '../../src/cli/help.ts'

it('docs/cli.md is what the table of commands says', async () => {
  await expect(commandReference(COMMANDS)).toMatchFileSnapshot('../../docs/cli.md')
})

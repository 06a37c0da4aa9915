#!/usr/bin/env node
import { createInterface } from 'node:readline/promises'
import { runCommandLine } from './run.ts'

// A module that --app loads may print. The standard output belongs to the answer.
const { stdin, stdout, stderr } = process
const write = stdout.write.bind(stdout)
stdout.write = stderr.write.bind(stderr)
// `turnpike keys | head` closes the pipe early.
stdout.on('error', () => process.exit(0))

async function ask(question: string): Promise<string> {
  const terminal = createInterface({ input: stdin, output: stderr })
  try {
    return await terminal.question(question)
  } finally {
    terminal.close()
  }
}

const { NO_COLOR: noColor } = process.env
const code = await runCommandLine(process.argv.slice(2), {
  print: (text) => void write(`${text}\n`),
  complain: (text) => void stderr.write(`${text}\n`),
  hasColors: stdout.isTTY && (noColor === undefined || noColor === ''),
  ...(stdin.isTTY && stderr.isTTY && { ask }),
})
// A module that --app has loaded may have opened what keeps the process alive.
write('', () => process.exit(code))

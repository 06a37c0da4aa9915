import Koa from 'koa'
import { turnpike } from 'turnpike/koa'
import { koaStack } from '../stacks.mjs'

export const variants = koaStack('Koa 3', Koa, turnpike)

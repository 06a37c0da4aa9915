import { expressApp } from '../apps.mjs'
import { expressPeers } from '../peers.mjs'

export const group = 'Express 5'
export const title = 'express-rate-limit, 1 window'
export default ({ url }) => expressApp(...expressPeers(url).limits(1))

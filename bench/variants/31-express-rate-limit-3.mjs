import { expressApp } from '../apps.mjs'
import { expressPeers } from '../peers.mjs'

export const group = 'Express 5'
export const title = 'express-rate-limit, 3 windows'
export default ({ url }) => expressApp(...expressPeers(url).limits(3))

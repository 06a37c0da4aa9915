/** An application without sessions. */
import express from 'express'
import { turnpike } from 'turnpike/express'

const tp = turnpike({ redis: 'memory' })
express().get('/:id', tp.rateLimit({ limit: 5, window: '1m' }), (req, res) => {
  const id: string = req.params.id
  // @ts-expect-error there is no session
  res.json([id, req.session])
})
// @ts-expect-error the types of Express are found
tp.rateLimit({ limit: 5, window: '1m', key: (req) => req.nothing })

import express from 'express'
import { turnpike } from 'turnpike/express'
import { expressStack } from '../stacks.mjs'

export const variants = expressStack('Express 5', express, turnpike, 'post')

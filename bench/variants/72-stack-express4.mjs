import express from 'express4'
import { turnpike } from 'turnpike/express'
import { expressStack } from '../stacks.mjs'

export const variants = expressStack('Express 4', express, turnpike)

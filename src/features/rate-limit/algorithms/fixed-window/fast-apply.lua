local remaining_, reset_ = LIMIT - COST - count_, periodEnd_ - now
if expires_ == periodEnd_ then
  call('SET', KEYS[I], pack(HEADED_STATE, expires_, 0, periodEnd_, count_ + COST), 'KEEPTTL')
else
  call('SET', KEYS[I], pack(HEADED_STATE, periodEnd_, 0, periodEnd_, count_ + COST), 'PX', periodEnd_ - now)
end

"""Many runs on many machines: who does which, where each stands, and Ray, which finds them a place.

Ray is the scheduler of slots; a slot claims runs by leases (``ecgscale.leases``: a fencing token, kept by a heartbeat)
and has its worker do them; preemption is a pause at the next step, or within an evaluation at its next batch.
"""

# Rscript make.R: the RData files here, as R 4.2.2 and coda 0.19-4 write them. The numbers are made up.
library(coda)

prior.distns <- data.frame(
  distn = c("lnorm", "gamma", "unif", "exp"),
  parama = c(3, 25, 0.6, 0.05),
  paramb = c(0.5, 5, 1.4, NA),
  n = c(7L, 40L, NA, 12L),
  row.names = c("Vcmax", "SLA", "leaf_turnover_rate", "mort2")
)
save(prior.distns, file = "prior.distns.Rdata")

# factors, as data.frame() made of texts before R 4.0
post.distns <- data.frame(
  distn = factor(c("norm", "gamma")),
  parama = c(20.25, 26),
  paramb = c(1.5, 5.5),
  n = c(40L, 40L),
  row.names = c("Vcmax", "SLA")
)
save(post.distns, file = "post.distns.MA.Rdata")

chain <- function(...) mcmc(cbind(beta.o = c(...), sd.y = 0.5), start = 1001, thin = 2)
trait.mcmc <- list(
  SLA = mcmc.list(chain(19.374, 20.184, 19.164), chain(21.595, 20.33, 19.18)),
  leaf_width = mcmc.list(chain(4.5, 5.25))
)
save(trait.mcmc, file = "trait.mcmc.Rdata")

"""The names by which NIC drivers register interrupts, if not by the interface's name.

The list holds the driver modules below drivers/net/{ethernet,wireless,fddi,hippi} of Linux 6.1 (no
buses, no libraries), the drivers that later kernels added, and the names that older kernels and
other architectures use.
"""

_NAMES = """
3c515 3c574_cs 3c589_cs 3c59x 3c905 8139cp 8139too acenic adm8211 airo airo_cs alx amd-xgbe
amd8111e ar5523 ath ath10k_core ath10k_pci ath11k ath11k_pci ath12k ath12k_pci ath5k
ath6kl_core ath9k ath9k_htc ath9k_hw atl1 atl1c atl1e atl2 atlantic atmel atmel_cs atmel_pci
axnet_cs b43 b43legacy b44 bcm4400 bcm5700 bcmgenet be2net bmac bna bnx2 bnx2x bnxt_en
brcmf_pcie_intr brcmfmac brcmsmac carl9170 cassini cnic cpsw cs89x0 cxgb cxgb3 cxgb4 cxgb4vf
de2104x de4x5 defxx dl2k dmfe dpaa2-eth dwmac dwmac-generic dwmac-intel e100 e1000 e1000e
eepro100 ehea emac ena enetc enic epic100 et131x fbnic fealnx fec fm10k fmvj18x_cs forcedeth
gianfar gve hamachi hinic hinic3 hme hns hns3 hostap_cs hostap_pci hostap_plx hp100 hv_netvsc
i40e iavf ibmveth ibmvnic ice idpf igb igbvf igc ioc3-eth ionic ipw2200 iwl3945 iwl4965 iwldvm
iwlegacy iwlmvm iwlwifi ixgb ixgbe ixgbevf jme ksz884x lan743x lance libertas_cs liquidio
liquidio_vf macb mace mal mana mlx4 mlx4_core mlx4_en mlx5 mlx5_async mlx5_comp mlx5_core
mlx5_ctrl mt76 mt7601u mt7615e mt7663u mt76x0e mt76x0u mt76x2e mt76x2u mt7915e mt7921e mt7921u
mt7925e mt7996e mtk_soc_eth mv643xx_eth mvneta mvpp2 mwifiex mwifiex_pcie mwl8k myri10ge
natsemi ne1000 ne2000 ne2k-pci netvsc netxen netxen_nic nfp ngbe nicpf nicvf niu nmclan_cs
ns83820 orinoco_cs orinoco_nortel orinoco_plx orinoco_tmd p54pci p54usb pcnet32 pcnet_cs qed
qede qeth qla3xxx qlcnic r6040 r8125 r8126 r8168 r8169 ravb ray_cs rndis_wlan rrunner rsi_91x
rt2400pci rt2500pci rt2500usb rt2800pci rt2800usb rt2x00pci rt2x00usb rt61pci rt73usb rtl8187
rtl8188ee rtl818x_pci rtl8192ce rtl8192cu rtl8192de rtl8192ee rtl8192se rtl8723ae rtl8723be
rtl8821ae rtl8xxxu rtl_pci rtlwifi rtw88_8723d rtw88_8723de rtw88_8821c rtw88_8821ce
rtw88_8822b rtw88_8822be rtw88_8822c rtw88_8822ce rtw88_core rtw88_pci rtw89_8851be rtw89_8852a
rtw89_8852ae rtw89_8852be rtw89_8852bte rtw89_8852ce rtw89_8922ae rtw89_core rtw89_pci s2io
sc92031 sfc sfc-falcon sfc-siena sh-eth sis190 sis900 sk98lin skfp skge sky2 smc-ultra
smc91c92_cs smsc9420 spectrum_cs starfire stmmac stmmac-platform sundance sungem sunhme tehuti
tg3 tlan tulip txgbe typhoon uli526x via-rhine via-velocity virtio_net vmxnet3 vxge wil6210
winbond-840 wl3501_cs xen-netfront xgbe-eth xirc2ps_cs xircom_cb yellowfin zd1201 zd1211rw
"""
NIC_DRIVERS = frozenset(_NAMES.split())
